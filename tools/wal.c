/* tidemill wal verify|dump: reads the write-ahead log of a data directory, without the node.
 *
 * verify walks every volume (one worker's files of one generation), checks blocks, their links and
 * every record, and tells rot from what a crash left behind: it exits 1 where something is damaged
 * that may have been acknowledged.  dump prints one line a record, in the order of the log.
 * Nothing is written.  While the node runs, the end of its log moves under the reader. */
#include "runtime/disk_uring.h"
#include "runtime/hlc.h"
#include "storage/record.h"
#include "storage/wal_scan.h"
#include "tools/command.h"
#include "tools/nodedir.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#define FOLDER     "wal"
#define TEXT_BYTES 64 /* of a key or value in dump */

struct job {
    const char *dir;
    struct tm_disk *disk;
    bool dump;
    unsigned volumes;
    unsigned bad; /* volumes with damage */
    uint64_t bad_records;
    uint64_t records;
};

/* Bytes as a quoted text of printable characters, cut at TEXT_BYTES. */
static void print_bytes(struct tm_bytes b)
{
    putchar('"');
    for (size_t i = 0; i < b.len && i < TEXT_BYTES; i++) {
        if (b.data[i] == '"' || b.data[i] == '\\')
            printf("\\%c", b.data[i]);
        else if (isprint(b.data[i]))
            putchar(b.data[i]);
        else
            printf("\\x%02x", b.data[i]);
    }
    fputs(b.len > TEXT_BYTES ? "...\"" : "\"", stdout);
}

static void print_changes(const struct tm_record *r)
{
    struct tm_bytes rest = tm_record_body(r);
    struct tm_change change;
    while (tm_change_next(&rest, &change)) {
        struct tm_op op;
        fputs(" key=", stdout);
        print_bytes(change.key);
        while (tm_op_next(&change.ops, &op)) {
            printf(" op=%s", tm_op_name(op.code));
            if (op.name.len > 0) {
                fputs(" name=", stdout);
                print_bytes(op.name);
            }
            if (op.code == TM_OP_SET_FIELD) {
                fputs(" value=", stdout);
                print_bytes(op.value);
            }
        }
    }
}

static void print_record(const struct tm_wal_found *found, const struct tm_record *r)
{
    printf("generation=%u worker=%u sequence=%" PRIu64 " kind=%s partition=%u term=%" PRIu64
           " index=%" PRIu64 " ms=%" PRIu64 " bytes=%u commit=%" PRIu64,
           found->generation, found->worker, found->sequence, tm_record_kind_name(r->kind),
           r->partition, r->term, r->index, tm_hlc_ms(r->hlc), r->length, found->commit);
    if (r->kind == TM_RECORD_EFFECT || r->kind == TM_RECORD_FLUSH)
        print_changes(r);
    putchar('\n');
}

static void on_record(void *host, const struct tm_wal_found *found)
{
    struct job *job = host;
    job->records++;
    if (tm_record_check(found->record.data, found->record.len) != TM_OK) {
        job->bad_records++;
        printf("BAD RECORD: generation %u worker %u sequence %" PRIu64 "\n", found->generation,
               found->worker, found->sequence);
    } else if (job->dump) {
        print_record(found, (const struct tm_record *)(const void *)found->record.data);
    }
}

static void on_fault(void *host, const struct tm_wal_fault *fault)
{
    (void)host;
    printf("%s: generation %u worker %u sequence %" PRIu64 ", segment %" PRIu64 " offset %" PRIu64,
           fault->kind == TM_WAL_ROT ? "ROT" : "DAMAGED", fault->generation, fault->worker,
           fault->sequence, fault->segment, fault->offset);
    if (fault->span.partition == TM_WAL_ALL)
        puts(": it is not known which records were there");
    else
        printf(": partition %u, records %" PRIu64 " to %" PRIu64 "\n", fault->span.partition,
               fault->span.first, fault->span.last);
}

static void print_summary(uint32_t generation, uint32_t worker, const struct tm_wal_scan_result *r)
{
    uint64_t bytes = 0;
    for (unsigned i = 0; i < r->segment_count; i++)
        bytes += r->segments[i].bytes;
    printf("generation %u worker %u: %u segments, %" PRIu64 " bytes; blocks %" PRIu64 " to %" PRIu64
           ", durable to %" PRIu64 "; %" PRIu64 " records; %" PRIu64 " places of rot; end %s\n",
           generation, worker, r->segment_count, bytes, r->first_sequence, r->last_sequence,
           r->durable, r->records, r->rot,
           r->damaged  ? "DAMAGED"
           : r->torn   ? "torn by a crash (nothing acknowledged is missing)"
           : r->closed ? "closed cleanly"
                       : "open");
}

static void on_volume(void *arg, uint32_t generation, uint32_t worker)
{
    struct job *job = arg;
    const struct tm_wal_scan_config config = {
        .disk = job->disk, .folder = FOLDER, .generation = generation, .worker = worker};
    const struct tm_wal_scan_sink sink = {.host = job, .record = on_record, .fault = on_fault};
    struct tm_wal_scan_result result;
    uint64_t bad_before = job->bad_records;
    job->volumes++;
    enum tm_err err = tm_wal_scan(&config, &sink, &result);
    if (err != TM_OK) {
        job->bad++;
        tm_fail("%s, generation %u worker %u: %s", job->dir, generation, worker, tm_err_text(err));
        return;
    }
    job->bad += result.rot > 0 || result.damaged || job->bad_records > bad_before;
    if (!job->dump)
        print_summary(generation, worker, &result);
    tm_wal_scan_release(&result);
}

static int walk(const char *dir, bool dump)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return tm_fail("%s: %s", dir, tm_err_text(tm_err_from_errno(errno)));
    struct tm_disk_uring disk;
    tm_disk_uring_init(&disk, NULL, fd);
    struct job job = {.dir = dir, .disk = &disk.disk, .dump = dump};
    if (tm_nodedir_lives(dir))
        fprintf(stderr, "tidemill wal: the node runs: the end of its log may look torn\n");
    enum tm_err err = tm_wal_scan_volumes(&disk.disk, FOLDER, on_volume, &job);
    close(fd);
    if (err != TM_OK)
        return tm_fail("%s/" FOLDER ": %s", dir, tm_err_text(err));
    if (job.bad > 0)
        return tm_fail("%s: %u of %u volumes are damaged: start the node, it repairs them from its "
                       "peers",
                       dir, job.bad, job.volumes);
    if (!dump)
        printf("%u volume%s, %" PRIu64 " records: all well\n", job.volumes,
               job.volumes == 1 ? "" : "s", job.records);
    return TM_EXIT_DONE;
}

int tm_main_wal(int argc, char **argv)
{
    const struct tm_arg args[] = {{NULL, NULL, NULL}};
    if (!tm_args_take("wal", &argc, argv, args, false))
        return TM_EXIT_USAGE;
    bool dump = argc == 2 && strcmp(argv[0], "dump") == 0;
    if (argc != 2 || (!dump && strcmp(argv[0], "verify") != 0))
        return tm_usage_error("wal", "verify or dump, and one data directory, are needed");
    return walk(argv[1], dump);
}
