/* What clusters say to each other over links: whatever the bytes are, a decoder takes them or says
 * CORRUPT, and what it takes is within the bounds that its header promises.  The first byte chooses
 * the message.
 *
 * A batch's hash is one that chance does not hit: it is completed here, so that unpacking and the
 * check of the changes are reached; changes that pass are built into a record, and into the batch
 * of a next link. */
#include "actors/link_batch.h"
#include "actors/link_stage_wire.h"
#include "actors/link_sync_wire.h"
#include "actors/router.h"
#include "runtime/hash.h"
#include "storage/versions.h"
#include "tests/fuzz/fuzz.h"

static uint64_t raw_space[TM_LINK_RAW_MAX / 8], next_space[TM_LINK_RAW_MAX / 8];
static uint64_t record_space[TM_RECORD_MAX / 8];

static void check_stream(const struct tm_link_stream *s)
{
    FUZZ_CHECK(s->source < s->sources && s->target < s->targets && s->session != 0);
    FUZZ_CHECK(tm_link_overlap(s->source, s->sources, s->target, s->targets));
}

static bool ships(const void *host, struct tm_bytes type)
{
    (void)host;
    return type.len % 2 == 0;
}

static bool forwards(const void *host, uint64_t origin)
{
    (void)host;
    return origin % 2 == 0;
}

/* As the target's log holds them, on to the next cluster. */
static void transit(const struct tm_link_stream *stream, struct tm_bytes raw)
{
    static const struct tm_link_filter filter = {NULL, ships, forwards, 1};
    struct tm_link_position from = {0};
    struct tm_link_builder b;
    struct tm_record *r = (void *)record_space;
    if (raw.len > TM_RECORD_MAX - sizeof *r - 8)
        return;
    *r = (struct tm_record){.kind = TM_RECORD_EFFECT, .index = 1, .term = 1, .hlc = 1};
    r->body_len = (uint32_t)raw.len;
    if (raw.len > 0)
        memcpy(r + 1, raw.data, raw.len);
    tm_record_seal(r);
    FUZZ_CHECK(tm_record_check(r, r->length) == TM_OK);
    tm_link_builder_begin(&b, &filter, stream, &from, (uint8_t *)next_space, sizeof next_space);
    FUZZ_CHECK(tm_link_builder_add(&b, r) == TM_OK);
    FUZZ_CHECK(tm_link_changes_check(tm_link_builder_raw(&b)) == TM_OK);
}

static void batch(struct tm_bytes bytes)
{
    struct tm_link_batch b;
    struct tm_bytes packed, raw;
    if (tm_link_batch_decode(bytes, &b, &packed) != TM_OK)
        return;
    check_stream(&b.stream);
    FUZZ_CHECK(b.to.index > b.from.index && packed.len == b.packed_len);
    uint8_t *copy = fuzz_copy(packed);
    packed = tm_bytes_of(copy, packed.len);
    (void)tm_link_unpack(&b, packed, (uint8_t *)raw_space, &raw);
    b.raw_hash = tm_hash64(raw.data, raw.len, 0);
    if (tm_link_unpack(&b, packed, (uint8_t *)raw_space, &raw) == TM_OK) {
        FUZZ_CHECK(raw.len == b.raw_len);
        transit(&b.stream, raw);
    }
    free(copy);
}

static void text(struct tm_bytes bytes)
{
    struct tm_link_refused r;
    struct tm_bytes t;
    if (tm_link_refused_decode(bytes, &r, &t) != TM_OK)
        return;
    check_stream(&r.stream);
    FUZZ_CHECK(t.len <= TM_LINK_REFUSAL_TEXT_MAX && tm_link_refusal_text(r.reason) != NULL);
}

static void position(struct tm_bytes bytes)
{
    struct tm_link_at at;
    struct tm_link_position again;
    struct tm_link_mark marks[TM_LINK_MARKS];
    if (tm_link_at_decode(bytes, &at, marks) != TM_OK)
        return;
    check_stream(&at.stream);
    FUZZ_CHECK(at.durable <= at.marks && at.marks <= TM_LINK_MARKS);
    FUZZ_CHECK(at.marks == 0 || marks[at.marks - 1].index > at.position.index);
    FUZZ_CHECK(at.committed <= at.position.index);
    FUZZ_CHECK(tm_link_position_decode(tm_bytes_of(&at.position, sizeof at.position), &again) ==
               (at.position.incarnation != 0));
}

static void resync(struct tm_bytes bytes)
{
    static struct tm_link_range ranges[TM_LINK_RANGES];
    static struct tm_link_key keys[TM_LINK_KEYS];
    static uint64_t drops[TM_LINK_DROPS], orders[TM_LINK_LACKS_KEYS];
    struct tm_link_ranges r;
    struct tm_link_lacks lacks;
    struct tm_link_differs d;
    struct tm_link_state_head s;
    struct tm_link_stated done;
    struct tm_bytes packed;
    if (tm_link_ranges_decode(bytes, &r, ranges) == TM_OK)
        FUZZ_CHECK(r.count > 0 && r.from < ranges[r.count - 1].end);
    if (tm_link_differs_decode(bytes, &d, keys) == TM_OK && d.keys > 0)
        FUZZ_CHECK(keys[d.keys - 1].order < d.end && d.end <= TM_LINK_ORDERS);
    if (tm_link_state_decode(bytes, &s, drops, &packed) == TM_OK)
        FUZZ_CHECK(packed.len == s.packed_len && s.raw_len <= TM_LINK_RAW_MAX);
    if (tm_link_stated_decode(bytes, &done) == TM_OK)
        check_stream(&done.stream);
    if (tm_link_lacks_decode(bytes, &lacks, orders) == TM_OK)
        FUZZ_CHECK(lacks.count > 0 && orders[lacks.count - 1] < TM_LINK_ORDERS);
}

/* A field's versions: what is taken is written back as it was, and joining it with itself changes
 * nothing. */
static void versions(struct tm_bytes bytes)
{
    struct tm_versions v, same;
    if (!tm_versions_decode(bytes, &v))
        return;
    uint8_t *again = malloc(bytes.len);
    FUZZ_CHECK(again != NULL && tm_versions_size(&v) == bytes.len);
    tm_versions_encode(&v, again);
    FUZZ_CHECK(memcmp(again, bytes.data, bytes.len) == 0);
    same = v;
    FUZZ_CHECK(!tm_versions_join(&same, &v) && same.count == v.count);
    FUZZ_CHECK(same.past_count <= v.past_count);
    free(again);
}

/* What is taken of the wire is taken of the store, too. */
static void staging(struct tm_bytes bytes)
{
    struct tm_link_staging s;
    struct tm_link_commit commit;
    struct tm_link_unstage unstage;
    struct tm_link_staged_name name;
    struct tm_link_batch again;
    struct tm_bytes packed, rest;
    uint8_t field[TM_LINK_STAGED_NAME];
    if (tm_link_staging_decode(bytes, &s, &packed) == TM_OK) {
        check_stream(&s.batch.stream);
        FUZZ_CHECK(s.through.index <= s.batch.from.index && s.batch.raw_len <= TM_LINK_STAGE_MAX);
        uint8_t *value = malloc(sizeof s.batch + packed.len);
        FUZZ_CHECK(value != NULL);
        memcpy(value, &s.batch, sizeof s.batch);
        if (packed.len > 0)
            memcpy(value + sizeof s.batch, packed.data, packed.len);
        FUZZ_CHECK(
            tm_link_staged_decode(tm_bytes_of(value, sizeof s.batch + packed.len), &again, &rest));
        free(value);
    }
    if (tm_link_commit_decode(bytes, &commit) == TM_OK)
        FUZZ_CHECK(commit.through.index > 0);
    if (tm_link_unstage_decode(bytes, &unstage) == TM_OK)
        FUZZ_CHECK(unstage.keep.term <= unstage.term);
    if (tm_link_staged_name_read(bytes, &name)) {
        tm_link_staged_name(&name, field);
        FUZZ_CHECK(memcmp(field, bytes.data, sizeof field) == 0);
    }
}

FUZZ_TARGET(data, size)
{
    union {
        struct tm_link_open open;
        struct tm_link_receipt ack;
        struct tm_link_moved moved;
    } m;
    if (size == 0)
        return 0;
    uint8_t *copy = fuzz_copy(tm_bytes_of(data + 1, size - 1));
    struct tm_bytes bytes = tm_bytes_of(copy, size - 1);
    switch (data[0] % 9) {
    case 0:
        if (tm_link_open_decode(bytes, &m.open) == TM_OK)
            check_stream(&m.open.stream);
        break;
    case 1:
        position(bytes);
        break;
    case 2:
        batch(bytes);
        break;
    case 3:
        if (tm_link_receipt_decode(bytes, &m.ack) == TM_OK)
            check_stream(&m.ack.stream);
        break;
    case 4:
        if (tm_link_moved_decode(bytes, &m.moved) == TM_OK)
            check_stream(&m.moved.stream);
        break;
    case 5:
        text(bytes);
        break;
    case 7:
        versions(bytes);
        break;
    case 8:
        staging(bytes);
        break;
    default:
        resync(bytes);
        break;
    }
    free(copy);
    return 0;
}
