/* Writes the seeds of the fuzz targets' corpora, by the product's own encoders, into
 * FOLDER/<target>/seed-<name>: fuzz_seeds FOLDER.  With --check it compares them with the files
 * that are there, and fails if one differs: then a format has changed, and they are to be written
 * anew (tests/fuzz/corpus). */
#include "actors/directory.h"
#include "actors/link_batch.h"
#include "actors/link_stage_wire.h"
#include "actors/link_sync_wire.h"
#include "actors/replica_wire.h"
#include "actors/request_wire.h"
#include "actors/transfer.h"
#include "net/dpdk_frame.h"
#include "runtime/hash.h"
#include "storage/arena.h"
#include "storage/datadir.h"
#include "storage/store.h"
#include "tests/fuzz/fuzz_disk.h"

#define PARTITION 3 /* of the targets message and snapshot */
#define SEED_MAX  16384

static const char *folder;
static bool checking;
static unsigned stale;

/* A seed under way. */
static uint8_t seed[SEED_MAX];
static size_t len;

static void byte(unsigned b)
{
    FUZZ_CHECK(len < sizeof seed);
    seed[len++] = (uint8_t)b;
}

static void u16(unsigned n)
{
    byte(n & 0xff);
    byte(n >> 8);
}

static void bytes(const void *data, size_t n)
{
    FUZZ_CHECK(len + n <= sizeof seed);
    if (n > 0)
        memcpy(seed + len, data, n);
    len += n;
}

static void begin(unsigned first)
{
    len = 0;
    byte(first);
}

/* Ends the seed: writes it, or compares it. */
static void end(const char *target, const char *name)
{
    static uint8_t there[SEED_MAX + 1];
    char path[4096];
    FUZZ_CHECK(snprintf(path, sizeof path, "%s/%s/seed-%s", folder, target, name) <
               (int)sizeof path);
    FILE *f = fopen(path, checking ? "rb" : "wb");
    size_t n = f == NULL  ? 0
               : checking ? fread(there, 1, sizeof there, f)
                          : fwrite(seed, 1, len, f);
    if (f == NULL || n != len || (checking && memcmp(there, seed, len) != 0)) {
        fprintf(stderr, "%s: %s\n", path, checking ? "is not what it would be now" : "not written");
        stale++;
    }
    if (f != NULL)
        fclose(f);
}

/* --- records --- */

static struct tm_record *make_record(enum tm_record_kind kind, uint64_t index)
{
    static uint64_t space[512];
    struct tm_record_builder b;
    struct tm_record head = {.partition = PARTITION, .term = 1, .index = index, .hlc = index << 16};
    struct tm_counter_component component = {.origin = 7, .term = 1, .total = 41};
    struct tm_op at;
    uint64_t expiry = 1700000005000;
    tm_record_begin(&b, space, sizeof space, kind, &head);
    struct {
        const char *key;
        enum tm_entity_type type;
        struct tm_op op;
    } ops[] = {
        {"Order:1", TM_ENTITY_STRING, {TM_OP_SET_FIELD, tm_bytes_str(""), tm_bytes_str("paid")}},
        {"Order:1", TM_ENTITY_STRING, {TM_OP_SET_EXPIRY, tm_bytes_str(""), {(void *)&expiry, 8}}},
        {"Cart", TM_ENTITY_HASH, {TM_OP_SET_FIELD, tm_bytes_str("a"), tm_bytes_str("1")}},
        {"Cart", TM_ENTITY_HASH, {TM_OP_DEL_FIELD, tm_bytes_str("b"), tm_bytes_str("")}},
        {"Tags", TM_ENTITY_SET, {TM_OP_SET_FIELD, tm_bytes_str("new"), tm_bytes_str("")}},
        {"Count",
         TM_ENTITY_STRING,
         {TM_OP_COUNTER, tm_bytes_str(""), {(void *)&component, sizeof component}}},
        {"Cart", TM_ENTITY_HASH, {TM_OP_DEL_ENTITY, tm_bytes_str(""), tm_bytes_str("")}},
    };
    if (kind == TM_RECORD_EFFECT || kind == TM_RECORD_FLUSH)
        for (unsigned i = 0; i < TM_ARRAY_LEN(ops); i++)
            FUZZ_CHECK(tm_record_op(&b, tm_bytes_str(ops[i].key), ops[i].type, &ops[i].op, &at) ==
                       TM_OK);
    struct tm_record *r = tm_record_end(&b);
    FUZZ_CHECK(tm_record_check(r, r->length) == TM_OK);
    return r;
}

/* As the targets' own next_record reads it. */
static void put_record(enum tm_record_kind kind)
{
    struct tm_record *r = make_record(kind, 1);
    byte(kind);
    u16(r->body_len);
    bytes(r + 1, r->body_len);
}

static void records(void)
{
    begin(0);
    put_record(TM_RECORD_EFFECT);
    byte(0);
    put_record(TM_RECORD_NOOP);
    byte(1);
    put_record(TM_RECORD_FLUSH);
    byte(0);
    end("message", "records");

    begin(9);
    bytes(make_record(TM_RECORD_EFFECT, 1), make_record(TM_RECORD_EFFECT, 1)->length);
    end("message", "record");

    begin(7); /* first, hash before it, fork, count */
    byte(2);
    byte(0);
    byte(1);
    byte(1);
    put_record(TM_RECORD_EFFECT);
    put_record(TM_RECORD_EFFECT);
    u16(8);
    bytes("\0\0\0\0\0\0\0\0", 8);
    end("message", "offer");
}

/* --- what nodes say --- */

static struct tm_members three_members(void)
{
    struct tm_members m = {.count = 3};
    for (unsigned i = 0; i < 3; i++)
        m.at[i] = (struct tm_member){.id = {.disk = 100 + i, .node = (uint8_t)i}};
    m.at[2].role = TM_MEMBER_WITNESS;
    return m;
}

static void replica_messages(void)
{
    uint8_t head[TM_MSG_HEAD_MAX];
    struct tm_replica_msg msg = {.partition = PARTITION, .from = {.disk = 100}, .term = 2};
    struct tm_record *r = make_record(TM_RECORD_EFFECT, 5);
    for (unsigned kind = TM_MSG_PREVOTE; kind < TM_MSG_END; kind++) {
        size_t body = kind == TM_MSG_APPEND ? r->length : 0;
        char name[32];
        msg.kind = kind;
        msg.index = kind == TM_MSG_INSYNC || kind == TM_MSG_INSYNC_REPLY ? 0 : 4;
        msg.index_term = msg.index > 0 ? 1 : 0;
        msg.count = body > 0;
        begin(1);
        bytes(head, tm_replica_msg_encode(&msg, body, head));
        bytes(r, body);
        snprintf(name, sizeof name, "replica-%s", tm_replica_msg_name(kind));
        end("message", name);
    }
    msg.kind = TM_MSG_INSYNC;
    msg.flags = TM_MSG_WITH_SET;
    msg.insync =
        (struct tm_insync){.term = 2, .epoch = 1, .count = 2, .at = {{.disk = 100}, {101, 1}}};
    begin(1);
    bytes(head, tm_replica_msg_encode(&msg, 0, head));
    end("message", "replica-with-set");
}

static void requests(void)
{
    struct tm_bytes set[] = {tm_bytes_str("SET"), tm_bytes_str("Order:1"), tm_bytes_str("paid")};
    struct tm_bytes get[] = {tm_bytes_str("GET"), tm_bytes_str("Order:1")};
    struct tm_request_command commands[] = {{set, 3}, {get, 2}};
    struct tm_request rq = {.id = 1,
                            .kind = TM_REQUEST_MULTI,
                            .resp = 2,
                            .commands = commands,
                            .count = 2,
                            .watch_token = 9};
    uint8_t out[512], head[TM_ANSWER_HEAD];
    FUZZ_CHECK(tm_request_size(&rq) > 0 && tm_request_size(&rq) <= sizeof out);
    tm_request_encode(&rq, out);
    begin(3);
    bytes(out, tm_request_size(&rq));
    end("message", "request");

    struct tm_answer a = {.id = 1, .status = TM_ANSWER_DONE, .reply = tm_bytes_str("+OK\r\n")};
    tm_answer_encode(&a, head);
    begin(4);
    bytes(head, sizeof head);
    bytes(a.reply.data, a.reply.len);
    end("message", "answer");
}

static void cluster(void)
{
    static struct tm_directory d;
    static uint8_t out[SEED_MAX];
    const char *const names[] = {"node-1", "node-2", "node-3"};
    struct tm_directory_spec spec = {.cluster = "c",
                                     .names = names,
                                     .count = 3,
                                     .partitions = 4,
                                     .copies = 2,
                                     .facts = "node-1/address=10.0.0.1\nregion=eu\n"};
    tm_directory_propose(&d, &spec);
    d.token = 5;
    for (unsigned i = 0; i < 3; i++)
        d.nodes[i].disk_id = 100 + i;
    FUZZ_CHECK(tm_directory_size(&d) <= sizeof out);
    tm_directory_encode(&d, out);
    begin(5);
    bytes(out, tm_directory_size(&d));
    end("message", "directory");

    struct tm_members m = three_members();
    struct tm_snapshot_info info = {.partition = PARTITION,
                                    .walked_from = 10,
                                    .walked_to = 12,
                                    .term = 1,
                                    .items = 1,
                                    .chunks = 1};
    info.bytes = 8192;
    tm_members_encode(&m, out);
    begin(2);
    bytes(out, TM_MEMBERS_SIZE(m.count));
    end("message", "members");
    tm_transfer_note(&m, &info);
    begin(6);
    bytes(out, tm_transfer_encode(&info, out));
    bytes("chunk   ", 8);
    end("message", "transfer");
}

static void identity(void)
{
    struct fuzz_world world;
    struct tm_datadir_identity id;
    struct tm_datadir_error error;
    static uint8_t file[336];
    bool clean;
    struct tm_sim_disk *sd = fuzz_world_with_disk(&world);
    FUZZ_CHECK(tm_datadir_format(&world.ctx, "cluster", "node-1", &id, &error) == TM_OK);
    FUZZ_CHECK(tm_datadir_begin(world.ctx.disk, &id, 2, &clean, &error) == TM_OK);
    int64_t fd = tm_disk_run_open(world.ctx.disk, "identity", TM_DISK_RDONLY);
    FUZZ_CHECK(tm_disk_run_read(world.ctx.disk, (int32_t)fd, file, sizeof file, 0) ==
               (int64_t)sizeof file);
    tm_disk_run_close(world.ctx.disk, (int32_t)fd);
    tm_sim_disk_free(sd);
    begin(10);
    byte(0);
    bytes(file, sizeof file);
    bytes(file, sizeof file);
    end("message", "identity");
}

/* --- programs --- */

/* Steps of the target frame: what the low three bits of a step's byte are. */
enum { SEND, FLUSH, DELIVER, AGAIN, FORGE, WAIT, HINT, LOSE };

/* --- links --- */

static bool ships_all(const void *host, struct tm_bytes type)
{
    (void)host;
    (void)type;
    return true;
}

static bool forwards_all(const void *host, uint64_t origin)
{
    (void)host;
    (void)origin;
    return true;
}

static void link_batch(const struct tm_link_stream *stream, bool packs)
{
    static const struct tm_link_filter filter = {NULL, ships_all, forwards_all, 1};
    static uint8_t raw_space[4096], packed[4096];
    struct tm_link_position from = {0};
    struct tm_link_builder b;
    tm_link_builder_begin(&b, &filter, stream, &from, raw_space, sizeof raw_space);
    for (unsigned i = 1; i < 6; i++) {
        struct tm_record *r = make_record(i == 1 ? TM_RECORD_FLUSH : TM_RECORD_EFFECT, i);
        r->origin = 7;
        tm_record_seal(r);
        FUZZ_CHECK(tm_link_builder_add(&b, r) == TM_OK);
    }
    struct tm_bytes raw = tm_link_builder_raw(&b), body = raw;
    if (packs)
        body = tm_bytes_of(packed, tm_link_pack(raw, packed, sizeof packed));
    FUZZ_CHECK(body.len > 0);
    struct tm_link_batch head = {.stream = *stream,
                                 .to = b.to,
                                 .raw_hash = tm_hash64(raw.data, raw.len, 0),
                                 .raw_len = (uint32_t)raw.len,
                                 .packed_len = (uint32_t)body.len};
    begin(2);
    bytes(&head, sizeof head);
    bytes(body.data, body.len);
    end("link", packs ? "batch-packed" : "batch");
}

static void resyncs(const struct tm_link_stream *stream)
{
    struct tm_link_ranges ranges = {.stream = *stream, .round = 1, .count = 2};
    struct tm_link_range range[2] = {{TM_LINK_ORDERS / 2, 5}, {TM_LINK_ORDERS, 7}};
    struct tm_link_differs differs = {
        .stream = *stream, .end = TM_LINK_ORDERS, .round = 1, .keys = 2, .map = {3}};
    struct tm_link_key keys[2] = {{100, 2}, {TM_LINK_ORDERS - 1, 3}};
    struct tm_link_state_head state = {
        .stream = *stream, .to = {.incarnation = 7, .index = 9, .term = 2}, .drops = 1, .last = 1};
    uint64_t drop = 100;
    begin(6);
    bytes(&ranges, sizeof ranges);
    bytes(range, sizeof range);
    end("link", "ranges");
    begin(6);
    bytes(&differs, sizeof differs);
    bytes(keys, sizeof keys);
    end("link", "differs");
    begin(6);
    bytes(&state, sizeof state);
    bytes(&drop, sizeof drop);
    end("link", "state");
    struct tm_link_lacks lacks = {.stream = *stream, .count = 1};
    begin(6);
    bytes(&lacks, sizeof lacks);
    bytes(&drop, sizeof drop);
    end("link", "lacks");
}

static void links(void)
{
    struct tm_link_stream stream = {.session = 5, .incarnation = 7, .sources = 1, .targets = 1};
    struct tm_link_at at = {.stream = stream,
                            .position = {.incarnation = 7, .index = 9, .term = 2, .hash = 3},
                            .committed = 8};
    struct tm_link_receipt ack = {stream, 9, 3, 20, 9, 3, 9, 3};
    struct tm_link_staging stage = {
        .batch = {.stream = stream,
                  .from = {9, 2, 3},
                  .to = {.incarnation = 7, .index = 11, .term = 2, .hash = 5}},
        .through = {9, 2, 3}};
    struct tm_link_commit commit = {stream, {9, 2, 3}};
    struct tm_link_unstage unstage = {stream, {9, 2, 3}, 2};
    struct tm_link_moved moved = {.stream = stream, .block = 2};
    struct tm_link_refused refused = {stream, TM_LINK_REFUSAL_RESIDENCY, 6};
    begin(0);
    bytes(&stream, sizeof stream);
    end("link", "open");
    begin(1);
    bytes(&at, sizeof at);
    end("link", "position");
    link_batch(&stream, false);
    link_batch(&stream, true);
    begin(3);
    bytes(&ack, sizeof ack);
    end("link", "ack");
    begin(4);
    bytes(&moved, sizeof moved);
    end("link", "moved");
    begin(5);
    bytes(&refused, sizeof refused);
    bytes("type=X", 6);
    end("link", "refused");
    begin(8);
    bytes(&stage, sizeof stage);
    end("link", "stage");
    begin(8);
    bytes(&commit, sizeof commit);
    end("link", "commit");
    begin(8);
    bytes(&unstage, sizeof unstage);
    end("link", "unstage");
    resyncs(&stream);
}

static void exchange(unsigned rounds)
{
    for (unsigned i = 0; i < rounds; i++) {
        byte(FLUSH);
        byte(FLUSH | 0x80);
        for (unsigned k = 0; k < 4; k++)
            byte(DELIVER);
        byte(WAIT | 12 << 3);
        u16(5000);
    }
}

static void frames(void)
{
    struct tm_dpdk_wire wire = {.self = {.ip = 0x0a000002, .mac = {2, 0, 0, 0, 0, 2}, .node = 0},
                                .udp_base = 9000,
                                .boot = 7,
                                .domain = 0x12345678};
    struct tm_dpdk_station peer = {.ip = 0x0a000001, .mac = {2, 0, 0, 0, 0, 1}, .node = 1};
    uint8_t head[TM_DPDK_HEAD_BYTES], frame[128] = {0};
    tm_dpdk_head_init(head, &wire, &peer);
    tm_dpdk_head_write(frame, head, TM_DPDK_DATA, 0, 1, 40);
    begin(0);
    bytes(frame, TM_DPDK_HEAD_BYTES + 40);
    end("frame", "ethernet");
    tm_dpdk_arp_write(frame, TM_DPDK_ARP_REQUEST, &wire.self, &peer);
    begin(0);
    bytes(frame, TM_DPDK_ARP_BYTES);
    end("frame", "arp");

    begin(1);
    exchange(4);
    for (unsigned i = 0; i < 3; i++) {
        byte(SEND | (i & 1) << 7);
        u16(700 * i);
    }
    exchange(3);
    end("frame", "messages");

    begin(1);
    exchange(4);
    byte(SEND);
    u16(20000);
    byte(FLUSH);
    byte(LOSE | 2 << 3);
    byte(AGAIN | 1 << 3);
    byte(FORGE);
    byte(0x83);
    byte(3);
    byte(0xff);
    exchange(6);
    byte(LOSE | 0x78); /* the process ends, and another begins */
    exchange(4);
    end("frame", "lost-and-restarted");
}

static void logs(void)
{
    begin(0); /* append, append, flush, disk, settle, commit */
    for (unsigned i = 0; i < 12; i++) {
        byte(0x00 | (i & 1) << 4);
        byte(40 * i);
        byte(0x03);
        byte(0xf5);
    }
    byte(0x07);
    byte(0x0b);
    byte(0x09); /* a vote */
    byte(4);
    byte(0x08); /* a cut */
    byte(1);
    byte(0x0a); /* time */
    byte(60);
    byte(0x0c); /* compact */
    for (unsigned how = 0; how < 6; how++) {
        byte(0x0d); /* restart */
        byte(how);
        byte(0x02);
        u16(900);
        byte(0x07);
    }
    memmove(seed, seed + 1, --len); /* the target has no first byte */
    end("wal", "work-and-restarts");
    byte(0x0f); /* harm: four times */
    byte(3);
    for (unsigned how = 4; how < 8; how++) {
        byte(how | 0x20);
        byte(1);
        u16(4096 + how);
        bytes("\1\1\1\1\1\1\1\1", 8);
    }
    end("wal", "harm");
}

static void snapshots(void)
{
    struct tm_arena arena;
    static uint8_t slice[4096];
    uint64_t cursor = 0, index = 0;
    size_t used = 0;
    FUZZ_CHECK(tm_arena_open(&arena) == TM_OK);
    struct tm_store *s = tm_store_new(&arena, PARTITION);
    FUZZ_CHECK(tm_store_apply(s, make_record(TM_RECORD_EFFECT, 1), false) == TM_OK);
    FUZZ_CHECK(tm_store_snapshot(s, &cursor, slice, sizeof slice, &used, &index) == TM_OK);
    FUZZ_CHECK(cursor == 0 && used > 0);
    tm_store_delete(s);
    tm_arena_close(&arena);
    begin(0);
    u16((unsigned)used);
    bytes(slice, used);
    end("snapshot", "slice");
    begin(2); /* names in "current", count, two of (from, length); flags, items, note, chunk */
    byte(0);
    byte(1);
    for (unsigned i = 0; i < 4; i++)
        byte(1 + i);
    for (unsigned i = 0; i < 2; i++) {
        byte(0);
        byte(0);
        byte(0);
        u16(0);
    }
    end("snapshot", "files");
    begin(3);
    byte(1);
    byte(2);
    byte(0x01);
    u16(4200);
    byte(0x04);
    u16(0);
    end("snapshot", "damage");
}

int main(int argc, char **argv)
{
    checking = argc > 2 && strcmp(argv[1], "--check") == 0;
    folder = argv[argc - 1];
    if (argc != (checking ? 3 : 2)) {
        fprintf(stderr, "usage: fuzz_seeds [--check] FOLDER\n");
        return 2;
    }
    records();
    replica_messages();
    requests();
    cluster();
    identity();
    links();
    frames();
    logs();
    snapshots();
    return stale == 0 ? 0 : 1;
}
