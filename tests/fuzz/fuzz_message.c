/* Everything that nodes say to each other, and what rests in the same encodings: whatever the bytes
 * are, a decoder takes them or says CORRUPT.  What it takes must survive being written and read
 * again.  The first byte chooses the decoder.
 *
 * Records, directories, identities and offers carry a checksum that chance does not hit: those are
 * completed here, so that what lies behind is reached; a store then applies and undoes records that
 * passed. */
#include "actors/directory.h"
#include "actors/heartbeat.h"
#include "actors/offer_image.h"
#include "actors/replica_wire.h"
#include "actors/request_wire.h"
#include "actors/transfer.h"
#include "runtime/hash.h"
#include "storage/arena.h"
#include "storage/datadir.h"
#include "storage/store.h"
#include "tests/fuzz/fuzz_disk.h"

#define PARTITION 3

/* What a decoder passes over (room for members that are not there, reserved words) is not
 * written again; from then on the bytes are the same. */
static void replica_message(struct tm_bytes bytes)
{
    struct tm_replica_msg msg, again;
    uint8_t head[TM_MSG_HEAD_MAX], same[TM_MSG_HEAD_MAX];
    if (tm_replica_msg_decode(bytes, &msg) != TM_OK)
        return;
    size_t len = tm_replica_msg_encode(&msg, msg.body.len, head);
    FUZZ_CHECK(len + msg.body.len == bytes.len);
    uint8_t *whole = fuzz_copy(bytes);
    memcpy(whole, head, len);
    FUZZ_CHECK(tm_replica_msg_decode(tm_bytes_of(whole, bytes.len), &again) == TM_OK);
    FUZZ_CHECK(tm_replica_msg_encode(&again, again.body.len, same) == len);
    FUZZ_CHECK(memcmp(head, same, len) == 0 && tm_bytes_equal(msg.body, again.body));
    free(whole);
    size_t at = 0;
    while (at < msg.body.len && tm_record_check(msg.body.data + at, msg.body.len - at) == TM_OK)
        at += ((const struct tm_record *)(const void *)(msg.body.data + at))->length;
}

static void members(struct tm_bytes bytes)
{
    struct tm_members m;
    uint8_t out[TM_MEMBERS_SIZE_MAX];
    if (tm_members_decode(bytes, &m) != TM_OK)
        return;
    FUZZ_CHECK(tm_members_valid(&m) && TM_MEMBERS_SIZE(m.count) == bytes.len);
    tm_members_encode(&m, out);
    FUZZ_CHECK(memcmp(out, bytes.data, bytes.len) == 0);
}

static void request(struct tm_bytes bytes)
{
    struct tm_request_words words = {0};
    struct tm_request rq, again;
    if (tm_request_decode(bytes, &words, &rq) == TM_OK) {
        struct tm_request_words more = {0};
        size_t len = tm_request_size(&rq);
        FUZZ_CHECK(len > 0);
        uint8_t *out = malloc(len);
        FUZZ_CHECK(out != NULL);
        tm_request_encode(&rq, out);
        FUZZ_CHECK(tm_request_decode(tm_bytes_of(out, len), &more, &again) == TM_OK);
        FUZZ_CHECK(again.count == rq.count && again.id == rq.id && again.cursor == rq.cursor);
        free(out);
        tm_request_words_free(&more);
    }
    tm_request_words_free(&words);
}

static void answer(struct tm_bytes bytes)
{
    struct tm_answer a, again;
    uint8_t head[TM_ANSWER_HEAD];
    if (tm_answer_decode(bytes, &a) != TM_OK)
        return;
    FUZZ_CHECK(a.reply.len == bytes.len - sizeof head);
    tm_answer_encode(&a, head);
    FUZZ_CHECK(tm_answer_decode(tm_bytes_of(head, sizeof head), &again) == TM_OK);
    FUZZ_CHECK(again.id == a.id && again.status == a.status && again.err == a.err &&
               again.index == a.index && again.cursor == a.cursor && again.copies == a.copies);
}

static void use_directory(const struct tm_directory *d)
{
    size_t len;
    const char *region = tm_directory_fact(d, "region", &len);
    FUZZ_CHECK(region == NULL || region + len <= d->facts + d->facts_len);
    for (unsigned n = 0; n < d->members; n++)
        FUZZ_CHECK(tm_directory_find(d, d->nodes[n].name) >= 0);
    for (unsigned p = 0; p <= d->partitions; p++)
        FUZZ_CHECK(d->placement[p].copies >= 1 && d->placement[p].copies <= d->members);
    FUZZ_CHECK(tm_directory_refuses(d, d) != NULL); /* it is no next version */
}

/* The last eight bytes are the checksum of those before. */
static void directory(struct tm_bytes bytes)
{
    static struct tm_directory d;
    uint8_t *sealed = fuzz_copy(bytes);
    if (bytes.len >= 8)
        tm_store64(sealed + bytes.len - 8, tm_hash64(sealed, bytes.len - 8, 0));
    if (tm_directory_decode(tm_bytes_of(sealed, bytes.len), &d) == TM_OK) {
        size_t len = tm_directory_size(&d);
        uint8_t *out = malloc(len), *same = malloc(len);
        FUZZ_CHECK(out != NULL && same != NULL && len == bytes.len);
        tm_directory_encode(&d, out);
        use_directory(&d);
        FUZZ_CHECK(tm_directory_decode(tm_bytes_of(out, len), &d) == TM_OK);
        tm_directory_encode(&d, same);
        FUZZ_CHECK(memcmp(out, same, len) == 0);
        free(out);
        free(same);
    }
    free(sealed);
}

/* Two copies of 336 bytes, at 0 and at 4096, whose last eight are the checksum. */
static void identity(struct tm_bytes bytes)
{
    struct fuzz_input in = fuzz_input_of(bytes.data, bytes.len);
    struct fuzz_world world;
    struct tm_datadir_identity id;
    struct tm_datadir_error error = {""};
    static uint8_t file[8192];
    memset(file, 0, sizeof file);
    uint8_t flags = fuzz_byte(&in);
    for (unsigned copy = 0; copy < 2; copy++) {
        struct tm_bytes stored = fuzz_take(&in, 336);
        if (stored.len > 0)
            memcpy(file + 4096 * copy, stored.data, stored.len);
        if ((flags >> copy & 1) == 0)
            tm_store64(file + 4096 * copy + 328, tm_hash64(file + 4096 * copy, 328, 0));
    }
    struct tm_sim_disk *sd = fuzz_world_with_disk(&world);
    FUZZ_CHECK(fuzz_overwrite(world.ctx.disk, "identity", 0, tm_bytes_of(file, sizeof file)));
    if (tm_datadir_read(world.ctx.disk, &id, &error) == TM_OK) {
        bool clean;
        FUZZ_CHECK(id.generation_count <= TM_WAL_GENERATIONS);
        FUZZ_CHECK(strlen(id.cluster) <= TM_DATADIR_NAME_MAX);
        (void)tm_datadir_check(&id, "cluster", "node-1", &error);
        if (tm_datadir_begin(world.ctx.disk, &id, 2, &clean, &error) == TM_OK)
            FUZZ_CHECK(tm_datadir_read(world.ctx.disk, &id, &error) == TM_OK && !id.clean);
    } else {
        FUZZ_CHECK(error.text[0] != '\0');
    }
    tm_sim_disk_free(sd);
}

static void transfer(struct tm_bytes bytes)
{
    struct tm_snapshot_info info;
    struct tm_bytes chunk;
    struct tm_members m;
    if (tm_transfer_decode(bytes, PARTITION, &info, &chunk) != TM_OK)
        return;
    FUZZ_CHECK(chunk.data >= bytes.data && chunk.data + chunk.len == bytes.data + bytes.len);
    FUZZ_CHECK(tm_transfer_members(&info, &m) == TM_OK && tm_members_valid(&m));
}

/* --- heartbeats --- */

static void no_send(void *host, unsigned node, unsigned worker, struct tm_bytes message)
{
    (void)host;
    FUZZ_CHECK(node < TM_NODES_MAX && worker < 64 && message.len <= TM_BEAT_MESSAGE_MAX);
}

static uint64_t no_age(void *host)
{
    (void)host;
    return 0;
}

static void heartbeats(struct tm_bytes bytes)
{
    static struct tm_beat beat;
    static struct tm_beat_link links[4];
    struct fuzz_world world;
    struct tm_beat_options opt;
    struct tm_beat_io io = {.send = no_send, .flush_age_ns = no_age};
    struct fuzz_input in = fuzz_input_of(bytes.data, bytes.len);
    fuzz_world_init(&world);
    tm_beat_options_default(&opt);
    memset(links, 0, sizeof links);
    tm_beat_init(&beat, &opt, &io, &world, &world.ctx, (struct tm_id){.disk = 100, .node = 0}, 0, 7,
                 links, TM_ARRAY_LEN(links));
    for (unsigned node = 0; node < 3; node++)
        tm_beat_workers(&beat, node, 1);
    while (in.left > 0) {
        unsigned node = 1 + fuzz_byte(&in) % 2;
        struct tm_bytes message = fuzz_take(&in, fuzz_u16(&in) % 512);
        uint8_t *copy = fuzz_copy(message);
        tm_beat_receive(&beat, node, 0, tm_bytes_of(copy, message.len));
        free(copy);
        world.now_ns += TM_MS(10);
        tm_beat_turn(&beat);
    }
}

/* --- records --- */

/* One record at *space, made of the input's next bytes; NULL: it is none. */
static const struct tm_record *next_record(struct fuzz_input *in, uint64_t index, uint64_t *space,
                                           size_t room)
{
    struct tm_record *r = (void *)space;
    uint8_t kind = fuzz_byte(in);
    struct tm_bytes body = fuzz_take(in, fuzz_u16(in) % (room - sizeof *r - 8));
    *r = (struct tm_record){.kind = kind % 8,
                            .partition = PARTITION,
                            .body_len = (uint32_t)body.len,
                            .term = 1 + kind / 128,
                            .index = index,
                            .hlc = index << 16 ^ kind,
                            .origin = kind >> 5};
    if (body.len > 0)
        memcpy(r + 1, body.data, body.len);
    tm_record_seal(r);
    return tm_record_check(r, r->length) == TM_OK ? r : NULL;
}

/* A chain of records in an image whose head is sealed, then changed and sealed again. */
static void offer(struct tm_bytes bytes)
{
    static const uint8_t cluster[16] = {0};
    static uint64_t image[8192];
    struct fuzz_input in = fuzz_input_of(bytes.data, bytes.len);
    struct tm_offer_head *head = (void *)image;
    size_t at = sizeof *head;
    uint64_t first = fuzz_byte(&in), hash = fuzz_byte(&in);
    *head = (struct tm_offer_head){
        .fork_index = fuzz_byte(&in), .fork_hash = hash, .partition = PARTITION};
    for (uint64_t i = 0, count = 1 + fuzz_byte(&in) % 8; i < count; i++) {
        struct tm_record *r = (void *)((uint8_t *)image + at);
        if (next_record(&in, first + i, (void *)r, 4096) == NULL)
            continue;
        r->prev_hash = hash;
        tm_record_seal(r);
        hash = r->checksum;
        at += r->length;
    }
    if (at == sizeof *head)
        return;
    tm_offer_seal((uint8_t *)image, at);
    size_t where = fuzz_u16(&in);
    struct tm_bytes with = fuzz_take(&in, 8);
    if (where + with.len <= at && with.len > 0)
        memcpy((uint8_t *)image + where, with.data, with.len);
    head->checksum = 0;
    head->checksum = tm_hash64(image, at, 0);
    uint8_t *copy = fuzz_copy(tm_bytes_of(image, at));
    if (tm_offer_check(tm_bytes_of(copy, at), cluster) == TM_OK) {
        char name[TM_OFFER_NAME_MAX];
        tm_offer_name((void *)copy, name);
        FUZZ_CHECK(tm_offer_records(tm_bytes_of(copy, at)).len + sizeof *head == at);
    }
    free(copy);
}

static void records(struct tm_bytes bytes)
{
    static uint64_t space[1024];
    struct tm_arena arena;
    FUZZ_CHECK(tm_arena_open(&arena) == TM_OK);
    struct tm_store *now = tm_store_new(&arena, PARTITION),
                    *later = tm_store_new(&arena, PARTITION);
    struct fuzz_input in = fuzz_input_of(bytes.data, bytes.len);
    for (uint64_t index = 1; in.left > 0 && index < 64; index++) {
        const struct tm_record *r = next_record(&in, index, space, sizeof space);
        if (r == NULL)
            continue;
        uint64_t before = tm_store_state_hash(later);
        FUZZ_CHECK(tm_store_apply(now, r, false) == TM_OK);
        FUZZ_CHECK(tm_store_apply(later, r, true) == TM_OK);
        if (fuzz_byte(&in) % 2 == 0) { /* and back, and once more */
            tm_store_undo(later, tm_store_committed(later));
            FUZZ_CHECK(tm_store_state_hash(later) == before);
            FUZZ_CHECK(tm_store_apply(later, r, true) == TM_OK);
        }
        tm_store_commit(later, index);
        FUZZ_CHECK(tm_store_state_hash(now) == tm_store_state_hash(later));
        FUZZ_CHECK(tm_store_count(now) == tm_store_count(later));
    }
    tm_store_delete(now);
    tm_store_delete(later);
    FUZZ_CHECK(arena.bytes == 0);
    tm_arena_close(&arena);
}

/* A record as it comes from outside: nothing is completed. */
static void raw_record(struct tm_bytes bytes)
{
    if (tm_record_check(bytes.data, bytes.len) == TM_OK)
        FUZZ_CHECK(((const struct tm_record *)(const void *)bytes.data)->length <= bytes.len);
}

FUZZ_TARGET(data, size)
{
    static void (*const decoders[])(struct tm_bytes) = {
        records,  replica_message, members,    request,    answer,   directory,
        transfer, offer,           heartbeats, raw_record, identity,
    };
    if (size < 1)
        return 0;
    struct tm_bytes bytes = tm_bytes_of(data + 1, size - 1);
    uint8_t *copy = fuzz_copy(bytes);
    decoders[data[0] % TM_ARRAY_LEN(decoders)](tm_bytes_of(copy, bytes.len));
    free(copy);
    return 0;
}
