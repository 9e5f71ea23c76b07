/* What runs on the data directories below DIR.
 *
 * node.json is for people and scripts, and for finding the process to signal.  Liveness is asked of
 * the kernel: a shared lock on the file "lock" is tried and given back at once, which fails exactly
 * while a node holds it.  A process that was killed keeps its lock and its ports until its memory
 * is freed; tm_process_is_ending tells that from a node that works, so that `up` waits for the
 * first and leaves the second alone. */
#include "tools/nodedir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PF_EXITING 0x4 /* of the kernel's task flags, field 9 of /proc/PID/stat */
#define KILL_BIT   (UINT64_C(1) << 8)

static enum tm_err join_path(char *path, const char *dir, const char *name)
{
    int n = snprintf(path, TM_NODEDIR_PATH_MAX + 1, "%s/%s", dir, name);
    return n > TM_NODEDIR_PATH_MAX ? TM_ERR_TOOBIG : TM_OK;
}

static enum tm_err write_text(const char *path, int flags, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC | flags, 0644);
    if (fd < 0)
        return tm_err_from_errno(errno);
    size_t len = strlen(text);
    enum tm_err err = TM_OK;
    errno = ENOSPC;
    if (write(fd, text, len) != (ssize_t)len || ftruncate(fd, (off_t)len) != 0)
        err = tm_err_from_errno(errno);
    if (close(fd) != 0 && err == TM_OK)
        err = tm_err_from_errno(errno);
    return err;
}

/* Replaces path as a whole.  On a full disk it is written over where it is: who reads it in that
 * moment sees no JSON, and looks again. */
static enum tm_err write_whole(const char *path, const char *fresh, const char *text)
{
    enum tm_err err = write_text(fresh, O_CREAT | O_TRUNC, text);
    if (err == TM_OK && rename(fresh, path) != 0)
        err = tm_err_from_errno(errno);
    if (err != TM_ERR_NOSPACE)
        return err;
    unlink(fresh);
    return write_text(path, 0, text);
}

enum tm_err tm_nodefile_write(const char *data_dir, const struct tm_nodefile *file, char *why,
                              size_t why_size)
{
    char path[TM_NODEDIR_PATH_MAX + 1], fresh[TM_NODEDIR_PATH_MAX + 1];
    enum tm_err err = join_path(path, data_dir, "node.json");
    if (err == TM_OK)
        err = join_path(fresh, data_dir, "node.json.tmp");
    json_t *o =
        json_pack("{s:I, s:I}", "pid", (json_int_t)file->pid, "workers", (json_int_t)file->workers);
#define X(field, size) json_object_set_new(o, #field, json_string(file->field));
    TM_NODEFILE_TEXTS(X)
#undef X
    char *text = json_dumps(o, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
    json_decref(o);
    if (err == TM_OK)
        err = text == NULL ? TM_ERR_NOMEM : write_whole(path, fresh, text);
    free(text);
    if (err != TM_OK)
        snprintf(why, why_size, "%s/node.json: %s", data_dir, tm_err_text(err));
    return err;
}

enum tm_err tm_nodefile_read(const char *data_dir, struct tm_nodefile *file)
{
    char path[TM_NODEDIR_PATH_MAX + 1];
    *file = (struct tm_nodefile){0};
    if (join_path(path, data_dir, "node.json") != TM_OK)
        return TM_ERR_TOOBIG;
    json_t *o = json_load_file(path, 0, NULL);
    if (o == NULL)
        return access(path, F_OK) == 0 ? TM_ERR_CORRUPT : TM_ERR_NOTFOUND;
    file->pid = json_integer_value(json_object_get(o, "pid"));
    file->workers = json_integer_value(json_object_get(o, "workers"));
    const char *text;
#define X(field, size)                                                                             \
    text = json_string_value(json_object_get(o, #field));                                          \
    snprintf(file->field, sizeof file->field, "%s", text != NULL ? text : "");
    TM_NODEFILE_TEXTS(X)
#undef X
    json_decref(o);
    return file->pid > 0 ? TM_OK : TM_ERR_CORRUPT;
}

bool tm_nodedir_lives(const char *data_dir)
{
    char path[TM_NODEDIR_PATH_MAX + 1];
    if (join_path(path, data_dir, "lock") != TM_OK)
        return false;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    bool held = flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
    close(fd);
    return held;
}

pid_t tm_nodedir_holder(const char *data_dir)
{
    char path[TM_NODEDIR_PATH_MAX + 1], text[32] = "";
    if (join_path(path, data_dir, "lock") != TM_OK)
        return 0;
    FILE *f = fopen(path, "re");
    long pid = f != NULL && fgets(text, sizeof text, f) != NULL ? strtol(text, NULL, 10) : 0;
    if (f != NULL)
        fclose(f);
    return (pid_t)(pid > 0 ? pid : 0);
}

/* Who holds the lock: its first word, which the holder writes; node.json is older or the same. */
static pid_t holder_of(const struct tm_nodedir *d)
{
    pid_t holder = d->lives ? tm_nodedir_holder(d->path) : 0;
    return holder > 0 || !d->lives ? holder : (pid_t)d->file.pid;
}

const char *tm_nodedir_state(const struct tm_nodedir *d)
{
    if (d->lives && d->pid != d->file.pid)
        return "starting"; /* it has not listened yet */
    bool was_stopping = strcmp(d->file.state, "stopping") == 0;
    if (d->lives && was_stopping)
        return "stopping";
    if (d->lives)
        return strcmp(d->file.state, "running") == 0 ? "running" : "starting";
    if (d->file.pid == 0)
        return "new";
    return was_stopping || strcmp(d->file.state, "stopped") == 0 ? "stopped" : "dead";
}

enum tm_err tm_nodedir_look(const char *dir, const char *cluster, const char *node,
                            struct tm_nodedir *out)
{
    *out = (struct tm_nodedir){0};
    int n = snprintf(out->path, sizeof out->path, "%s/%s/%s", dir, cluster, node);
    if (n > TM_NODEDIR_PATH_MAX)
        return TM_ERR_TOOBIG;
    snprintf(out->cluster, sizeof out->cluster, "%s", cluster);
    snprintf(out->node, sizeof out->node, "%s", node);
    tm_nodefile_read(out->path, &out->file);
    out->lives = tm_nodedir_lives(out->path);
    out->pid = holder_of(out);
    return TM_OK;
}

/* A growing list of what was found. */
struct list {
    struct tm_nodedir *at;
    unsigned count, room;
};

static enum tm_err add(struct list *l, const char *dir, const char *cluster, const char *node)
{
    if (l->count == l->room) {
        unsigned room = l->room == 0 ? 16 : 2 * l->room;
        struct tm_nodedir *more = realloc(l->at, room * sizeof *more);
        if (more == NULL)
            return TM_ERR_NOMEM;
        l->at = more;
        l->room = room;
    }
    struct tm_nodedir *d = &l->at[l->count];
    enum tm_err err = tm_nodedir_look(dir, cluster, node, d);
    char path[TM_NODEDIR_PATH_MAX + 1];
    if (err == TM_OK && join_path(path, d->path, "lock") == TM_OK && access(path, F_OK) == 0)
        l->count++;
    return err;
}

/* The names in a folder, sorted; hidden ones are not regarded.  -1 with errno. */
static int names_in(const char *path, struct dirent ***names)
{
    return scandir(path, names, NULL, alphasort);
}

static bool wanted(const char *name, const char *only)
{
    return name[0] != '.' && (only == NULL || strcmp(name, only) == 0);
}

static enum tm_err list_cluster(struct list *l, const char *dir, const char *cluster,
                                const char *only)
{
    char path[TM_NODEDIR_PATH_MAX + 1];
    enum tm_err err = join_path(path, dir, cluster);
    struct dirent **names;
    int n = err == TM_OK ? names_in(path, &names) : -1;
    for (int i = 0; i < n; i++) {
        if (err == TM_OK && wanted(names[i]->d_name, only))
            err = add(l, dir, cluster, names[i]->d_name);
        free(names[i]);
    }
    if (n >= 0)
        free(names);
    return err; /* what is no folder holds no nodes */
}

enum tm_err tm_nodedir_list(const char *dir, const char *cluster, const char *node,
                            struct tm_nodedir **out, unsigned *count)
{
    struct list l = {0};
    struct dirent **names;
    *out = NULL;
    *count = 0;
    int n = names_in(dir, &names);
    if (n < 0)
        return tm_err_from_errno(errno);
    enum tm_err err = TM_OK;
    for (int i = 0; i < n; i++) {
        if (err == TM_OK && wanted(names[i]->d_name, cluster))
            err = list_cluster(&l, dir, names[i]->d_name, node);
        free(names[i]);
    }
    free(names);
    if (err != TM_OK) {
        free(l.at);
        return err;
    }
    *out = l.at;
    *count = l.count;
    return TM_OK;
}

/* Reads a small file of /proc as text; false if the process is gone. */
static bool read_proc(pid_t pid, const char *name, char *text, size_t size)
{
    char path[64];
    memset(text, 0, size);
    snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, text, size - 1) : -1;
    if (fd >= 0)
        close(fd);
    text[n > 0 ? n : 0] = '\0';
    return n > 0;
}

static bool kill_is_pending(const char *status, const char *field)
{
    const char *at = strstr(status, field);
    return at != NULL && (strtoull(at + strlen(field), NULL, 16) & KILL_BIT) != 0;
}

bool tm_process_is_ending(pid_t pid)
{
    char text[4096], state = 'X';
    unsigned flags = 0;
    if (!read_proc(pid, "stat", text, sizeof text))
        return true;
    const char *after_name = strrchr(text, ')');
    if (after_name == NULL ||
        sscanf(after_name + 1, " %c %*d %*d %*d %*d %*d %u", &state, &flags) != 2)
        return true;
    if (state == 'Z' || state == 'X' || (flags & PF_EXITING) != 0)
        return true;
    return !read_proc(pid, "status", text, sizeof text) || kill_is_pending(text, "SigPnd:") ||
           kill_is_pending(text, "ShdPnd:");
}

bool tm_process_is_node(pid_t pid)
{
    char words[4096];
    if (pid <= 0 || !read_proc(pid, "cmdline", words, sizeof words))
        return false;
    size_t second = strlen(words) + 1;
    return second < sizeof words && strcmp(words + second, "serve") == 0;
}

bool tm_nodedir_wait_free(const char *data_dir, unsigned timeout_ms)
{
    const struct timespec step = {.tv_nsec = 5 * 1000 * 1000};
    for (unsigned waited = 0; tm_nodedir_lives(data_dir); waited += 5) {
        if (waited >= timeout_ms)
            return false;
        nanosleep(&step, NULL);
    }
    return true;
}

bool tm_last_error_line(const char *log_path, uint64_t from, char *line, size_t size)
{
    FILE *f = fopen(log_path, "re");
    if (f == NULL || fseeko(f, (off_t)from, SEEK_SET) != 0) {
        if (f != NULL)
            fclose(f);
        return false;
    }
    char read[2048];
    bool error = false;
    line[0] = '\0';
    while (fgets(read, sizeof read, f) != NULL) {
        bool is_error = strstr(read, "level=error") != NULL || strncmp(read, "tidemill", 8) == 0;
        read[strcspn(read, "\n")] = '\0';
        if (read[0] == '\0' || (error && !is_error))
            continue;
        error |= is_error;
        snprintf(line, size, "%s", read);
    }
    fclose(f);
    return line[0] != '\0';
}
