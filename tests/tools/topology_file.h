/* topology_file.h: topologies as a test says them, loaded from a file in a folder of this program
 * (scratch.h).  There is one such file: the next text takes its place. */
#ifndef TM_TESTS_TOOLS_TOPOLOGY_FILE_H
#define TM_TESTS_TOOLS_TOPOLOGY_FILE_H

#include "tests/scratch.h"
#include "tools/topology.h"

/* Where it lies, whether it was written or not. */
static inline const char *topology_file_path(void)
{
    static char path[96];
    if (path[0] == '\0')
        snprintf(path, sizeof path, "%s/topology.js", tm_scratch());
    return path;
}

/* What tm_topology_load says of the text: *t is NULL, or the caller's to free; err: a line. */
static inline enum tm_err topology_file_try(const char *text, struct tm_topology **t, char *err,
                                            size_t size)
{
    FILE *file = fopen(topology_file_path(), "w");
    CU_ASSERT_FATAL(file != NULL && fputs(text, file) >= 0);
    CU_ASSERT_FATAL(fclose(file) == 0);
    err[0] = '\0';
    *t = NULL;
    return tm_topology_load(topology_file_path(), t, err, size);
}

/* Loads a text that nothing is wrong with; the caller frees what it says. */
static inline struct tm_topology *topology_file_load(const char *text)
{
    char err[1024];
    struct tm_topology *t;
    enum tm_err e = topology_file_try(text, &t, err, sizeof err);
    if (e != TM_OK)
        printf("  %s\n", err);
    CU_ASSERT_EQUAL_FATAL(e, TM_OK);
    return t;
}

/* Loads a text that is refused, in one line that says what is expected. */
static inline void refused(const char *text, const char *expect)
{
    char err[1024];
    struct tm_topology *t;
    enum tm_err e = topology_file_try(text, &t, err, sizeof err);
    CU_ASSERT_EQUAL(e, TM_ERR_INVALID);
    bool said = strstr(err, expect) != NULL && strchr(err, '\n') == NULL;
    CU_ASSERT(said);
    if (!said)
        printf("  wanted: %s\n  got: %s\n", expect, err);
    if (t != NULL)
        tm_topology_free(t);
}

#endif
