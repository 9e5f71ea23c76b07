/* docgen.c: prints the documents that are made from tables: `docgen options`, `docgen counters`. */
#include "runtime/counters.h"
#include "runtime/options.h"

#include <stdio.h>

int main(int argc, char **argv)
{
    const char *what = argc == 2 ? argv[1] : "";
    if (strcmp(what, "options") == 0) {
        tm_options_markdown(stdout);
    } else if (strcmp(what, "counters") == 0) {
        tm_counters_markdown(stdout);
    } else {
        fprintf(stderr, "usage: docgen options|counters\n");
        return 2;
    }
    return fflush(stdout) == 0 ? 0 : 1;
}
