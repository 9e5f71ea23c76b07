/* glob.c: patterns (actors/glob.h).
 *
 * One pass with one point of return: after a mismatch the last '*' takes one byte more.  Earlier
 * ones never need to be tried again, so that no pattern takes exponential time. */
#include "actors/glob.h"

static uint8_t fold(uint8_t c, bool any_case)
{
    return any_case && c >= 'A' && c <= 'Z' ? (uint8_t)(c + 32) : c;
}

/* Matches c with the class that starts behind '[' at *at; *at ends behind its ']'.  A class without
 * end goes to the end of the pattern. */
static bool match_class(struct tm_bytes p, size_t *at, uint8_t c, bool any_case)
{
    bool negated = *at < p.len && p.data[*at] == '^', hit = false;
    *at += negated;
    while (*at < p.len && p.data[*at] != ']') {
        if (p.data[*at] == '\\' && *at + 1 < p.len)
            ++*at;
        uint8_t low = fold(p.data[*at], any_case), high = low;
        if (*at + 2 < p.len && p.data[*at + 1] == '-') {
            high = fold(p.data[*at + 2], any_case);
            *at += 2;
        }
        hit |= low <= high ? c >= low && c <= high : c >= high && c <= low;
        ++*at;
    }
    *at += *at < p.len;
    return hit != negated;
}

/* Matches c with the one element of the pattern at *at, which moves behind it. */
static bool match_one(struct tm_bytes p, size_t *at, uint8_t c, bool any_case)
{
    uint8_t want = p.data[(*at)++];
    c = fold(c, any_case);
    if (want == '?')
        return true;
    if (want == '[')
        return match_class(p, at, c, any_case);
    if (want == '\\' && *at < p.len)
        want = p.data[(*at)++];
    return fold(want, any_case) == c;
}

bool tm_glob_match(struct tm_bytes pattern, struct tm_bytes text, bool any_case)
{
    size_t p = 0, t = 0, star = SIZE_MAX, star_text = 0;
    while (t < text.len) {
        if (p < pattern.len && pattern.data[p] == '*') {
            star = ++p;
            star_text = t;
        } else if (p < pattern.len && match_one(pattern, &p, text.data[t], any_case)) {
            t++;
        } else if (star != SIZE_MAX) {
            p = star;
            t = ++star_text;
        } else {
            return false;
        }
    }
    while (p < pattern.len && pattern.data[p] == '*')
        p++;
    return p == pattern.len;
}
