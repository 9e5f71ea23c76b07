/* What all workers know of the cluster behind a site's name, in a table they share: who meets a
 * node of it first claims the name for its uuid; worker 0 writes that down (link_notes.h), one site
 * after the other, and then it is noted.  What could not be written is tried again, and nothing is
 * sent to that cluster before. */
#include "actors/link_way_internal.h"

#include <stdio.h>

#define BESIDE        TM_LINK_NOTES_FILE ".tmp"
#define NOTE_AGAIN_NS TM_SECONDS(10)

uint32_t tm_link_way_standing(const struct tm_link_way *way, unsigned site)
{
    return atomic_load_explicit(&way->config.known->site[site].standing, memory_order_acquire);
}

static void put_uuid(struct tm_link_way *way, unsigned site, const uint8_t uuid[16],
                     enum tm_link_standing standing)
{
    struct tm_link_known *k = way->config.known;
    atomic_store(&k->site[site].uuid[0], tm_load64(uuid));
    atomic_store(&k->site[site].uuid[1], tm_load64(uuid + 8));
    atomic_store_explicit(&k->site[site].standing, (uint32_t)standing, memory_order_release);
}

bool tm_link_way_is_uuid(const struct tm_link_way *way, unsigned site, const uint8_t uuid[16])
{
    const struct tm_link_known *k = way->config.known;
    return atomic_load(&k->site[site].uuid[0]) == tm_load64(uuid) &&
           atomic_load(&k->site[site].uuid[1]) == tm_load64(uuid + 8);
}

bool tm_link_way_uuid(const struct tm_link_way *way, unsigned site, uint8_t out[16])
{
    const struct tm_link_known *k = way->config.known;
    uint32_t standing = tm_link_way_standing(way, site);
    if (standing != TM_LINK_MET && standing != TM_LINK_NOTED)
        return false;
    tm_store64(out, atomic_load(&k->site[site].uuid[0]));
    tm_store64(out + 8, atomic_load(&k->site[site].uuid[1]));
    return true;
}

bool tm_link_way_is_same_cluster(struct tm_link_way *way, unsigned site, const uint8_t uuid[16])
{
    uint32_t was = TM_LINK_UNKNOWN;
    if (atomic_compare_exchange_strong(&way->config.known->site[site].standing, &was,
                                       TM_LINK_CLAIMED))
        put_uuid(way, site, uuid, TM_LINK_MET);
    return was == TM_LINK_CLAIMED ||
           tm_link_way_is_uuid(way, site, uuid); /* may_speak compares again */
}

bool tm_link_way_is_adopted(struct tm_link_way *way, unsigned site, const struct tm_link_hello *h)
{
    uint32_t was = TM_LINK_NOTED;
    struct tm_link_way_site *s = &way->sites[site];
    if (tm_load64(h->uuid) != s->adopted) {
        s->stranger = tm_load64(h->uuid);
        return false;
    }
    if (atomic_compare_exchange_strong(&way->config.known->site[site].standing, &was,
                                       TM_LINK_CLAIMED)) {
        put_uuid(way, site, h->uuid, TM_LINK_MET);
        tm_ctx_log(way->config.ctx, TM_LOG_WARN, "link_cluster_adopted", "cluster=%s uuid=%016llx",
                   way->config.sites[site].name, (unsigned long long)s->adopted);
        s->heard = false;
    }
    return tm_link_way_is_same_cluster(way, site, h->uuid);
}

static void noted(struct tm_link_way *way, unsigned site, const uint8_t uuid[16])
{
    put_uuid(way, site, uuid, TM_LINK_NOTED);
    tm_link_way_site_changed(way, site);
}

/* The list is again as the file has it. */
static void unnote(struct tm_link_way *way)
{
    if (way->noted_before)
        tm_link_notes_put(&way->notes, way->note_before.name, way->note_before.uuid);
    else
        way->notes.count--;
}

static void on_written(void *host, enum tm_err err)
{
    struct tm_link_way *way = host;
    unsigned site = (unsigned)way->noting;
    const struct tm_link_note *note = tm_link_notes_find(&way->notes, way->config.sites[site].name);
    way->noting = -1;
    way->flush_notes = true; /* there may be more */
    if (err == TM_OK) {
        tm_ctx_log(way->config.ctx, TM_LOG_INFO, "link_cluster_met",
                   "cluster=%s uuid=%016llx%016llx", note->name,
                   (unsigned long long)__builtin_bswap64(tm_load64(note->uuid)),
                   (unsigned long long)__builtin_bswap64(tm_load64(note->uuid + 8)));
        noted(way, site, note->uuid);
        return;
    }
    unnote(way);
    way->note_at = tm_ctx_now(way->config.ctx) + NOTE_AGAIN_NS;
    tm_ctx_log(way->config.ctx, TM_LOG_ERROR, "link_not_noted",
               "cluster=%s error=\"%s\" action=\"tried again; nothing is sent to it before\"",
               way->config.sites[site].name, tm_err_text(err));
}

static void write_note(struct tm_link_way *way, unsigned site)
{
    uint8_t uuid[16], *bytes;
    uint32_t len;
    const struct tm_link_known *k = way->config.known;
    const char *name = way->config.sites[site].name;
    tm_store64(uuid, atomic_load(&k->site[site].uuid[0]));
    tm_store64(uuid + 8, atomic_load(&k->site[site].uuid[1]));
    const struct tm_link_note *known = tm_link_notes_find(&way->notes, name);
    bool same = known != NULL && memcmp(known->uuid, uuid, sizeof uuid) == 0;
    if (same || (known != NULL && tm_load64(uuid) != way->sites[site].adopted)) {
        noted(way, site, known->uuid); /* it was met while the notes were read */
        return;
    }
    way->noted_before = known != NULL;
    if (known != NULL)
        way->note_before = *known;
    way->note_at = tm_ctx_now(way->config.ctx) + NOTE_AGAIN_NS;
    if (tm_link_notes_put(&way->notes, name, uuid) != TM_OK) {
        tm_ctx_log(way->config.ctx, TM_LOG_ERROR, "link_not_noted",
                   "cluster=%s error=\"%u clusters are noted already\"", name, TM_LINK_NOTES_MAX);
        return;
    }
    bytes = tm_link_notes_encode(&way->notes, &len);
    if (bytes == NULL) {
        unnote(way);
        return;
    }
    way->note_at = 0;
    way->noting = (int)site;
    tm_whole_write(&way->write, way->config.ctx->disk, TM_LINK_NOTES_FILE, BESIDE, bytes, len,
                   on_written, way);
}

void tm_link_way_tend_notes(struct tm_link_way *way)
{
    way->flush_notes = false;
    for (unsigned i = 0; i < way->config.site_count; i++) {
        if (tm_link_way_standing(way, i) != TM_LINK_MET)
            continue;
        way->flush_notes = true;
        if (way->noting < 0 && tm_ctx_now(way->config.ctx) >= way->note_at)
            write_note(way, i);
    }
}

enum tm_err tm_link_way_read_notes(struct tm_link_way *way, char *why, size_t why_size)
{
    enum tm_err e = tm_link_notes_load(way->config.ctx->disk, &way->notes);
    if (e != TM_OK)
        snprintf(why, why_size,
                 "the file \"%s\" of the data directory, which says which clusters this node met, "
                 "cannot be read: %s",
                 TM_LINK_NOTES_FILE, tm_err_text(e));
    for (unsigned i = 0; e == TM_OK && i < way->config.site_count; i++) {
        const struct tm_link_note *n = tm_link_notes_find(&way->notes, way->config.sites[i].name);
        if (n != NULL)
            noted(way, i, n->uuid);
    }
    return e;
}
