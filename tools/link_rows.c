/* Replies of nodes, taken apart: arrays of flat arrays of names and values become JSON objects,
 * rows, of which everything else is made. */
#include "net/resp.h"
#include "tools/link_ask.h"

#include <stdio.h>
#include <stdlib.h>

static bool take(struct tm_bytes *rest, struct tm_resp_value *v)
{
    size_t used;
    if (tm_resp_read(rest->data, rest->len, v, &used) != TM_RESP_DONE)
        return false;
    *rest = tm_bytes_of(rest->data + used, rest->len - used);
    return true;
}

static json_t *text_of(struct tm_bytes b)
{
    json_t *whole = json_stringn((const char *)b.data, b.len);
    if (whole != NULL)
        return whole;
    char *text = malloc(4 * b.len + 1), *to = text;
    TM_ASSERT(text != NULL);
    for (size_t i = 0; i < b.len; i++)
        if (b.data[i] >= ' ' && b.data[i] <= '~' && b.data[i] != '\\')
            *to++ = (char)b.data[i];
        else
            to += snprintf(to, 5, "\\x%02x", b.data[i]);
    *to = '\0';
    whole = json_string(text);
    free(text);
    return whole;
}

/* One flat array of names and values; NULL: it is none. */
static json_t *take_row(struct tm_bytes *rest)
{
    struct tm_resp_value head, name, value;
    if (!take(rest, &head) || (head.type != TM_RESP_ARRAY && head.type != TM_RESP_MAP))
        return NULL;
    json_t *row = json_object();
    for (uint64_t i = 0; i + 1 < head.count; i += 2) {
        char text[64];
        if (!take(rest, &name) || !take(rest, &value) || value.count > 0) {
            json_decref(row);
            return NULL;
        }
        snprintf(text, sizeof text, "%.*s", (int)tm_min_u64(name.text.len, 63), name.text.data);
        json_object_set_new(row, text,
                            value.type == TM_RESP_INTEGER ? json_integer(value.integer)
                                                          : text_of(value.text));
    }
    return row;
}

static json_t *error_row(const char *node, struct tm_bytes text)
{
    json_t *row = json_pack("{s:s, s:s}", "kind", "error", "at", node);
    json_object_set_new(row, "text", text_of(text));
    return row;
}

json_t *tm_linked_rows(struct tm_bytes reply, const char *node)
{
    struct tm_resp_value head;
    if (!take(&reply, &head))
        return NULL;
    json_t *rows = json_array();
    if (head.type == TM_RESP_ERROR) {
        json_array_append_new(rows, error_row(node, head.text));
        return rows;
    }
    for (uint64_t i = 0; head.type == TM_RESP_ARRAY && i < head.count; i++) {
        json_t *row = take_row(&reply);
        if (row == NULL) {
            json_decref(rows);
            return NULL;
        }
        json_object_set_new(row, "at", json_string(node));
        json_array_append_new(rows, row);
    }
    return rows;
}

/* ---- rows ---- */

json_int_t tm_link_number(const json_t *row, const char *name)
{
    return json_integer_value(json_object_get(row, name));
}

const char *tm_link_text(const json_t *row, const char *name)
{
    const char *text = json_string_value(json_object_get(row, name));
    return text != NULL ? text : "";
}

json_t *tm_link_sorted(json_t *list, int (*compare)(const void *a, const void *b))
{
    size_t n = json_array_size(list);
    json_t **rows = calloc(n + 1, sizeof *rows), *sorted = json_array();
    TM_ASSERT(rows != NULL);
    for (size_t i = 0; i < n; i++)
        rows[i] = json_array_get(list, i);
    qsort(rows, n, sizeof *rows, compare);
    for (size_t i = 0; i < n; i++)
        json_array_append(sorted, rows[i]);
    free(rows);
    json_decref(list);
    return sorted;
}
