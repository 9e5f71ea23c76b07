#include "runtime/nearest.h"

enum { COMPARED = 63 };

static char plain(char c)
{
    if (c == '_')
        return '-';
    return c >= 'A' && c <= 'Z' ? (char)(c + 'a' - 'A') : c;
}

static bool begins_with(const char *name, const char *prefix, unsigned len)
{
    for (unsigned i = 0; i < len; i++)
        if (plain(name[i]) != plain(prefix[i]))
            return false;
    return true;
}

static unsigned least(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

unsigned tm_name_distance(const char *given, const char *name)
{
    unsigned d[3][COMPARED + 1]; /* the present row of the table, and the two above it */
    unsigned m = (unsigned)strnlen(given, COMPARED), n = (unsigned)strnlen(name, COMPARED);
    if (m >= 3 && m < n && begins_with(name, given, m))
        return 1;
    for (unsigned j = 0; j <= n; j++)
        d[0][j] = j;
    for (unsigned i = 1; i <= m; i++) {
        unsigned *row = d[i % 3], *up = d[(i + 2) % 3], *up2 = d[(i + 1) % 3];
        row[0] = i;
        for (unsigned j = 1; j <= n; j++) {
            char a = plain(given[i - 1]), b = plain(name[j - 1]);
            row[j] = least(up[j - 1] + (a != b), least(up[j], row[j - 1]) + 1);
            if (i > 1 && j > 1 && a == plain(name[j - 2]) && plain(given[i - 2]) == b)
                row[j] = least(row[j], up2[j - 2] + 1);
        }
    }
    return d[m % 3][n];
}

bool tm_name_is_near(const char *given, unsigned distance)
{
    size_t len = strlen(given);
    return distance <= 2 + len / 3 && 2 * distance <= len;
}

const char *tm_nearest_name(const char *given, const char *const *names, size_t count)
{
    const char *best = NULL;
    unsigned distance = UINT32_MAX;
    for (size_t i = 0; i < count; i++) {
        unsigned d = tm_name_distance(given, names[i]);
        if (d < distance) {
            distance = d;
            best = names[i];
        }
    }
    return tm_name_is_near(given, distance) ? best : NULL;
}
