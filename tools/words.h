/* words.h: sentences put together piece by piece, for commands that explain themselves. */
#ifndef TM_TOOLS_WORDS_H
#define TM_TOOLS_WORDS_H

#include "runtime/base.h"

/* Begins as {0}; text is always ended by a NUL. */
struct tm_words {
    char text[2048];
    size_t at; /* its length */
};

/* Appends; what does not fit is cut off. */
void tm_words_say(struct tm_words *w, const char *fmt, ...) TM_PRINTF(2, 3);

#endif
