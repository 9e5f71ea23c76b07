/* request_wire.h: requests and answers as bytes, between a session's worker and a leader's.
 *
 * The encodings are frozen (append-only flags); decoding checks every length before use and
 * borrows all bytes from its input.  Pure. */
#ifndef TM_ACTORS_REQUEST_WIRE_H
#define TM_ACTORS_REQUEST_WIRE_H

#include "actors/request.h"

/* Words of all commands of one request; more are refused with TOOBIG when encoding. */
#define TM_REQUEST_WORDS_MAX    (1u << 20)
#define TM_REQUEST_COMMANDS_MAX 65536u

/* Bytes that rq takes; 0 if it is beyond the bounds above or TM_MESSAGE_BODY_MAX. */
size_t tm_request_size(const struct tm_request *rq);

/* Writes rq into out[0..tm_request_size(rq)). */
void tm_request_encode(const struct tm_request *rq, uint8_t *out);

/* Gives an encoded request another id. */
void tm_request_renumber(uint8_t *encoded, uint64_t id);

/* Memory for a decoded request's words: grows as needed, reused from one to the next. */
struct tm_request_words {
    struct tm_bytes *argv;
    struct tm_request_command *commands;
    size_t argv_cap, command_cap;
};
/* Frees what it grew to; w is empty then. */
void tm_request_words_free(struct tm_request_words *w);

/* Decodes bytes into rq, whose commands live in w until the next use of it, and whose words point
 * into bytes.  TM_ERR_CORRUPT if the bytes are no request; TM_ERR_NOMEM. */
enum tm_err tm_request_decode(struct tm_bytes bytes, struct tm_request_words *w,
                              struct tm_request *rq);

#define TM_ANSWER_HEAD 48

/* Writes all of an answer but its reply's bytes, which follow it in the message. */
void tm_answer_encode(const struct tm_answer *a, uint8_t out[TM_ANSWER_HEAD]);

/* TM_ERR_CORRUPT if the bytes are no answer.  a->reply points into bytes. */
enum tm_err tm_answer_decode(struct tm_bytes bytes, struct tm_answer *a);

#endif
