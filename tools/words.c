/* A text of fixed room. */
#include "tools/words.h"

#include <stdarg.h>
#include <stdio.h>

void tm_words_say(struct tm_words *w, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(w->text + w->at, sizeof w->text - w->at, fmt, ap);
    va_end(ap);
    w->at = tm_min_u64(w->at + (size_t)n, sizeof w->text - 1);
}
