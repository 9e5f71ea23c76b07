/* Dead letters of this worker as rows, and what operators do with them. */
#include "actors/links_internal.h"

void tm_links_tell_dead(struct tm_links *l, struct tm_resp_writer *w, const struct tm_link_dead *d,
                        const char *kind, const char *done)
{
    struct tm_links_row r = tm_links_begin_row(w, kind);
    tm_links_text_field(&r, "peer", tm_link_way_site(l->way, d->site)->name);
    tm_links_number_field(&r, "worker", l->shard->self.worker);
    tm_links_number_field(&r, "number", d->number);
    tm_links_number_field(&r, "source", d->source);
    tm_links_number_field(&r, "target", d->target);
    tm_links_number_field(&r, "index", d->index);
    tm_links_number_field(&r, "at_ms", d->at_ms);
    tm_links_number_field(&r, "tries", d->tries);
    tm_links_text_field(&r, "error", tm_err_name(d->err));
    tm_links_bytes_field(&r, "key", tm_bytes_of(d->key, d->key_len));
    if (done != NULL)
        tm_links_text_field(&r, "done", done);
    tm_links_end_row(&r);
}

/* Which letters an order is about. */
struct chosen {
    struct tm_bytes source;
    bool one;
    int64_t number;
};

/* False: it is about none of this worker's. */
static bool choose(const struct tm_links *l, const struct tm_bytes *words, unsigned count,
                   struct chosen *c)
{
    const struct tm_directory *d = l->shard->directory;
    int64_t worker;
    c->source = words[2];
    c->one = count == 6;
    return !c->one ||
           (tm_bytes_equal(words[3], tm_bytes_str(d->nodes[l->shard->self.node].name)) &&
            tm_resp_to_i64(words[4], &worker) && worker == (int64_t)l->shard->self.worker &&
            tm_resp_to_i64(words[5], &c->number));
}

static bool is_chosen(const struct tm_links *l, const struct chosen *c,
                      const struct tm_link_dead *d)
{
    const char *name = tm_link_way_site(l->way, d->site)->name;
    return tm_bytes_equal(c->source, tm_bytes_str(name)) &&
           (!c->one || (uint64_t)c->number == d->number);
}

bool tm_links_dead_order(struct tm_links *l, const struct tm_bytes *words, unsigned count,
                         struct tm_resp_writer *w)
{
    struct chosen c;
    size_t at = w->len;
    unsigned rows = 0;
    if ((count != 3 && count != 6) || !tm_bytes_equal(words[0], tm_bytes_str("DEAD")))
        return false;
    bool retry = tm_bytes_equal(words[1], tm_bytes_str("RETRY"));
    if (!retry && !tm_bytes_equal(words[1], tm_bytes_str("DROP")))
        return false;
    bool any = choose(l, words, count, &c);
    for (unsigned i = 0; any && i < tm_link_in_deads(l->in);) {
        const struct tm_link_dead d = *tm_link_in_dead(l->in, i);
        enum tm_err e = TM_OK;
        if (!is_chosen(l, &c, &d)) {
            i++;
            continue;
        }
        if (retry)
            e = tm_link_in_retry(l->in, d.number);
        else
            (void)tm_link_in_drop(l->in, d.number);
        tm_links_tell_dead(l, w, &d, "order", tm_err_name(e));
        rows++;
        i += e != TM_OK;
    }
    tm_resp_insert_array(w, at, rows);
    return true;
}
