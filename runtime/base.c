#include "runtime/base.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const char *const names[] = {
#define X(name, text) #name,
    TM_ERR_LIST(X)
#undef X
};

static const char *const texts[] = {
#define X(name, text) text,
    TM_ERR_LIST(X)
#undef X
};

const char *tm_err_name(enum tm_err err)
{
    return (unsigned)err < TM_ERR_COUNT ? names[err] : "UNKNOWN";
}

const char *tm_err_text(enum tm_err err)
{
    return (unsigned)err < TM_ERR_COUNT ? texts[err] : "an unknown error code";
}

enum tm_err tm_err_from_errno(int errnum)
{
    switch (errnum) {
    case 0:
        return TM_OK;
    case ENOSPC:
    case EDQUOT:
        return TM_ERR_NOSPACE;
    case ENOMEM:
    case ENOBUFS:
        return TM_ERR_NOMEM;
    case EAGAIN:
    case EINTR:
        return TM_ERR_AGAIN;
    case ENOENT:
        return TM_ERR_NOTFOUND;
    case ENOTDIR:
    case EISDIR:
        return TM_ERR_NOFOLDER;
    case EEXIST:
        return TM_ERR_EXISTS;
    case EPERM:
    case EACCES:
    case EROFS:
        return TM_ERR_PERMISSION;
    case ENOSYS:
    case EOPNOTSUPP:
        return TM_ERR_UNSUPPORTED;
    case EPIPE:
    case ECONNRESET:
    case ECONNREFUSED:
        return TM_ERR_CLOSED;
    case ETIMEDOUT:
        return TM_ERR_TIMEOUT;
    case EINVAL:
        return TM_ERR_INVALID;
    default:
        return TM_ERR_IO;
    }
}

void tm_assert_failed(const char *file, int line, const char *func, const char *text)
{
    char buf[512];
    int n = snprintf(buf, sizeof buf, "%s:%d: %s: assertion failed: %s\n", file, line, func, text);
    if (n > 0) {
        size_t len = (size_t)n < sizeof buf ? (size_t)n : sizeof buf - 1;
        ssize_t written = write(STDERR_FILENO, buf, len);
        (void)written;
    }
    abort();
}
