/* session_internal.h: what the files of the session share; nobody else includes it.
 *
 * One connection is one struct tm_session.  Each command that gets a reply is one *entry* of its
 * ring, in the order of arrival.  An entry is done when its reply could be written; done entries
 * leave at the head of the ring, so replies keep the order of requests.
 *
 *   session.c            life of sessions, input, the loop over commands, output
 *   session_memory.c     blocks under one budget; the chain of unsent output
 *   session_dispatch.c   one command: checks, routing; entries; answers
 *   session_gather.c     commands over several partitions
 *   session_chain.c      SCAN and RANDOMKEY: one partition after the other
 *   session_multi.c      MULTI, EXEC, WATCH
 *   session_wait.c       WAIT, WAITAOF
 *   session_node.c       commands that concern all workers of the node
 *   session_connection.c, _client.c, _command.c, _config.c, _cluster.c, _info.c, _latency.c,
 *   _tidemill.c          local commands */
#ifndef TM_ACTORS_SESSION_INTERNAL_H
#define TM_ACTORS_SESSION_INTERNAL_H

#include "actors/command_table.h"
#include "actors/session.h"
#include "net/resp.h"

#define TM_SMALL_REPLY     24
#define TM_CLIENT_NAME_MAX 64 /* a connection's name and its library's */

/* Requests carry (entry number, part of it): the number in the upper bits. */
#define TM_PART_BITS 15
TM_STATIC_ASSERT(TM_SLOTS < 1 << TM_PART_BITS, "a part per partition");

enum tm_entry_kind {
    TM_ENTRY_TEXT,   /* the reply is there since the entry was made */
    TM_ENTRY_SINGLE, /* one request to one partition */
    TM_ENTRY_WATCH,  /* the same, but the answer is a token */
    TM_ENTRY_GATHER, /* parts: struct tm_gather */
    TM_ENTRY_CHAIN,  /* one part after the other: struct tm_chain */
    TM_ENTRY_EXEC    /* a transaction that held local commands too: struct tm_multi */
};

struct tm_entry {
    uint8_t kind;
    bool done;    /* the reply can be written when the entry reaches the head */
    bool mute;    /* CLIENT REPLY: no reply is sent */
    uint8_t resp; /* 2 or 3 */
    uint32_t partition;
    uint32_t len; /* of the reply kept here: in small up to TM_SMALL_REPLY bytes, else a block */
    union {
        uint8_t small[TM_SMALL_REPLY];
        uint8_t *block;
    };
    union {
        struct tm_gather *gather;
        struct tm_chain *chain;
        struct tm_multi *multi;
    };
};

/* How the answers of the parts make one reply. */
enum tm_gather_how {
    TM_GATHER_SUM,     /* integers, added */
    TM_GATHER_OK,      /* +OK if all are */
    TM_GATHER_CONCAT,  /* arrays, one after the other */
    TM_GATHER_BY_KEY,  /* arrays, elements in the order of the keys of the command */
    TM_GATHER_TEXT,    /* texts, one after the other */
    TM_GATHER_ANY,     /* +OK if any is, else the first error */
    TM_GATHER_WAIT,    /* the fewest copies, less the leader's own */
    TM_GATHER_WAITAOF, /* both numbers */
    TM_GATHER_QUEUED   /* the fewest copies go into the transaction: tm_multi_count_copies */
};

struct tm_part {
    uint32_t partition;
    uint32_t len;         /* of the kept reply */
    uint32_t at;          /* how far it is used up */
    uint64_t index, term; /* WAIT: of the record */
    bool again;           /* WAIT: to be asked again when the router has room */
    bool gone;            /* WAIT: its leader cannot tell of that record (any more) */
    uint8_t *reply;
};

struct tm_gather {
    uint32_t bytes; /* of this block */
    uint8_t how;
    bool write;
    uint8_t worst; /* enum tm_answer_status */
    uint8_t err;   /* enum tm_err of a refused part */
    bool some_done;
    uint32_t parts, submitted, answered;
    uint32_t keys;
    uint32_t wanted, copies; /* WAIT: asked for; the fewest seen */
    uint64_t deadline_ms;    /* WAIT: monotonic, UINT64_MAX: none */
    int64_t sum;
    uint32_t error_len; /* the first error reply of a part */
    uint8_t *error;
    uint16_t *part_of_key;
    struct tm_part part[];
};

/* Words of commands kept for later: each a length and its bytes. */
struct tm_words {
    uint8_t *data;
    size_t len, cap;
};

struct tm_multi {
    struct tm_words words; /* per command: number of words, then the words */
    uint32_t commands, keyed;
    uint32_t word_count;   /* of the keyed ones */
    int32_t slot;          /* -1: no key yet */
    bool aborted, crossed; /* a command was refused; keys lie in several slots */
    bool hello;            /* one of the commands is HELLO */
    uint8_t *reply;        /* of the partition, once EXEC was answered */
    size_t reply_len, reply_at;
};

/* A partition this connection wrote to, and the last record there that the leader of `term` took (0
 * in strong mode: whatever the leader).  At most TM_WRITTEN_TERMS of a partition: then a later
 * term takes the place of the earliest, of which WAIT says no more. */
#define TM_WRITTEN_TERMS 4
struct tm_written {
    uint32_t partition;
    bool used;
    uint64_t index, term;
};

struct tm_chunk {
    struct tm_chunk *next;
    uint32_t cap, len, sent;
    uint8_t data[];
};

struct tm_session {
    struct tm_sessions *all;
    void *owner;
    uint64_t id;
    struct tm_session *ready_next, *stalled_next;

    uint8_t *in; /* bytes not yet executed: in[in_at..in_len) */
    size_t in_at, in_len, in_cap;
    struct tm_resp_parser parser;

    struct tm_entry *ring;
    uint32_t ring_cap;   /* 0 or a power of two */
    uint64_t head, tail; /* entries [head, tail) are under way; numbers start at 1 */

    struct tm_chunk *out_first, *out_last;
    size_t out_bytes;      /* in the chunks */
    size_t held_bytes;     /* of replies that wait for those before them */
    uint32_t reply_size;   /* of late: the largest, fading */
    uint64_t out_moved_ns; /* when output last moved, or began to wait */

    struct tm_multi *multi;
    struct tm_written *written;
    uint32_t written_cap, written_count;
    uint64_t watch_token;
    int32_t watch_slot; /* -1: nothing is watched */

    const struct tm_command *last_command;
    uint64_t opened_ms, last_ms; /* monotonic */
    char *names; /* three of TM_CLIENT_NAME_MAX bytes: name, library, its version; NULL: none */
    uint8_t resp;
    bool ready, stalled; /* is in that list */
    bool told_input;     /* what the worker was last told about reading */
    bool running;        /* inside the loop over commands */
    bool authenticated;
    bool barrier;  /* the next command waits until the ring is empty */
    bool fence;    /* the next command is to wait so: this one changes what it means */
    bool full;     /* the next command waits for the router */
    bool partial;  /* the next command was submitted in part: the entry at tail - 1 */
    bool paused;   /* too much unsent output */
    bool watching; /* a WATCH is under way */
    bool ending;   /* no more input; close when all is answered and sent */
    bool dead;     /* close now */
    bool closed;   /* the worker let go of it; lives until its watch is given back */
    bool reply_off, skip_reply, skip_next;
    bool no_evict, no_touch;
    struct tm_session_peer peer;
};

#define TM_POOL_CLASSES 9 /* 64 bytes .. 16 KiB */

struct tm_sessions {
    const struct tm_ctx *ctx;
    const struct tm_router *router;
    struct tm_session_limits limits;
    struct tm_sessions_stats stats;
    unsigned worker;

    struct tm_session **table; /* by id */
    uint32_t table_cap;        /* a power of two, at least twice `places` */
    uint32_t places;           /* that are taken: closed ones stay for a while */
    uint32_t tick_at;
    uint64_t next_seq;
    struct tm_session *ready_first, *ready_last;
    struct tm_session *stalled_first;

    struct tm_resp_writer scratch; /* replies of local commands */
    struct tm_resp_writer inner;   /* the reply of an EXEC with local commands */
    struct tm_resp_writer text;    /* texts that become one bulk: INFO, CLIENT LIST */
    struct tm_resp_limits parse;
    struct tm_bytes *argv;         /* limits.args */
    struct tm_bytes *words;        /* 2 x limits.args: the words of parts */
    struct tm_bytes inner_argv[3]; /* of the internal command (tm_cluster_rewrite) */
    uint16_t *part_of_key;         /* limits.args */
    uint32_t *mark;                /* per partition: mark_now if it is a part of this command */
    uint16_t *part_of;             /* per partition: which */
    uint32_t mark_now;
    uint32_t *part_start;              /* partitions + 1: where a part's words start */
    struct tm_request_command command; /* of the part being submitted */
    bool checking;                     /* tm_subcommand_dispatch is only to check */
    bool spread;                       /* the local command just run asked for it, */
    uint8_t spread_how;                /* in that way (tm_session_spread) */
    void *pool[TM_POOL_CLASSES];
    uint64_t pool_bytes; /* kept for reuse */
};

/* ---- session.c ---- */

/* Closes the connection at once: reason is one word for the log. */
void tm_session_doom(struct tm_session *s, const char *reason);
/* The worker is to look at this session. */
void tm_session_mark_ready(struct tm_session *s);
/* Found the router full: tm_sessions_resume comes back to it. */
void tm_session_stall(struct tm_session *s);
/* Goes on with commands that waited, where nothing hinders. */
void tm_session_continue(struct tm_session *s);
/* The session of that id, or NULL. */
struct tm_session *tm_sessions_find(const struct tm_sessions *all, uint64_t id);
uint64_t tm_session_now_ms(const struct tm_sessions *all);
/* Frees a closed session if its watch was given back. */
void tm_session_free_if_done(struct tm_session *s);

/* ---- session_memory.c ---- */

/* A block of size bytes, not cleared; NULL over the budget of all sessions. */
void *tm_session_alloc(struct tm_sessions *all, size_t size);
void tm_session_free(struct tm_sessions *all, void *block, size_t size);
/* Keeps a copy of (a part of) a reply that may not leave yet; it counts as unsent output.  NULL: a
 * limit was met, and the session is doomed. */
uint8_t *tm_session_hold(struct tm_session *s, struct tm_bytes reply);
void tm_session_unhold(struct tm_session *s, uint8_t *reply, size_t len);
/* Makes room for need bytes in a block of *cap that holds used ones. */
bool tm_session_grow(struct tm_sessions *all, uint8_t **block, size_t *cap, size_t used,
                     size_t need);
void tm_sessions_pool_free(struct tm_sessions *all);
/* Appends to the unsent output; dooms the session where it goes over a limit. */
void tm_session_out(struct tm_session *s, struct tm_bytes bytes);
void tm_session_out_free(struct tm_session *s);

bool tm_words_add_count(struct tm_sessions *all, struct tm_words *w, uint32_t count);
bool tm_words_add(struct tm_sessions *all, struct tm_words *w, struct tm_bytes word);
void tm_words_free(struct tm_sessions *all, struct tm_words *w);
/* Reads back from *at; the caller knows what comes. */
uint32_t tm_words_count(const struct tm_words *w, size_t *at);
struct tm_bytes tm_words_next(const struct tm_words *w, size_t *at);

/* ---- session_dispatch.c ---- */

/* Executes one command of at least one word. */
enum tm_step tm_session_dispatch(struct tm_session *s, const struct tm_bytes *argv, unsigned argc);

/* A new entry at the tail; NULL (and the session is doomed) without memory.  The pointer is good
 * until the next entry is made or an answer came, thus never across a submit. */
struct tm_entry *tm_session_entry(struct tm_session *s, enum tm_entry_kind kind);
/* The entry of that number, or NULL if it is not under way. */
struct tm_entry *tm_session_entry_at(const struct tm_session *s, uint64_t number);
/* Takes the entry at the tail back: its request was not taken. */
void tm_session_entry_undo(struct tm_session *s);
/* Counts a reply that the client is to see, by its first bytes. */
void tm_session_count_reply(struct tm_session *s, struct tm_bytes reply);
/* Keeps or, at the head, sends the reply of an entry; it is done. */
void tm_session_entry_reply(struct tm_session *s, struct tm_entry *e, struct tm_bytes reply);
/* The same with what stands in the scratch writer. */
void tm_session_entry_scratch(struct tm_session *s, struct tm_entry *e);
/* What stands in the scratch writer as an entry of its own. */
void tm_session_add_scratch(struct tm_session *s);
/* An error reply as an entry of its own. */
void tm_session_error(struct tm_session *s, const char *text);
/* An entry with that simple string. */
void tm_session_simple(struct tm_session *s, const char *text);
/* The scratch writer, empty, for replies in RESP version resp. */
struct tm_resp_writer *tm_session_scratch(struct tm_session *s, uint8_t resp);
/* Writes the error for an answer that is not TM_ANSWER_DONE. */
void tm_session_write_refusal(struct tm_resp_writer *w, enum tm_answer_status status,
                              enum tm_err err);
/* Sends the replies of done entries at the head, and frees what they hold. */
void tm_session_flush(struct tm_session *s);
void tm_session_entries_free(struct tm_session *s);
void tm_session_on_answer(struct tm_session *s, const struct tm_answer *a);
/* Submits for entry number; a refusal that is not FULL comes back as an answer.  False: full. */
bool tm_session_submit(struct tm_session *s, uint64_t number, uint32_t part, struct tm_request *r);
/* The one slot of all keys of the command: >= 0; -1: it has none; -2: several; -3: the words do
 * not say. */
int32_t tm_session_slot(const struct tm_command *c, const struct tm_bytes *argv, unsigned argc);

/* ---- session_cluster.c ---- */

/* CLUSTER COUNTKEYSINSLOT and GETKEYSINSLOT, where their words are good, become the internal
 * command that the slot's partition evaluates: changes *argv and *argc, and returns that command.
 * Else returns c. */
const struct tm_command *tm_cluster_rewrite(struct tm_session *s, const struct tm_command *c,
                                            const struct tm_bytes **argv, unsigned *argc);

/* Whether commands about all keys are about this partition too, on this connection: on a worker's
 * own port, if that worker leads it or, as CLUSTER SLOTS says, nobody is known to. */
bool tm_session_covers(const struct tm_session *s, uint32_t partition);

/* ---- session_gather.c, session_chain.c ---- */

enum tm_step tm_session_scatter(struct tm_session *s, const struct tm_command *c,
                                const struct tm_bytes *argv, unsigned argc);
enum tm_step tm_session_broadcast(struct tm_session *s, const struct tm_command *c,
                                  const struct tm_bytes *argv, unsigned argc);
struct tm_gather *tm_gather_new(struct tm_session *s, uint32_t parts, uint32_t keys);
void tm_gather_free(struct tm_session *s, struct tm_gather *g);
/* Submits the parts not yet submitted through fill; the entry is the one at the tail. */
enum tm_step tm_gather_submit(struct tm_session *s,
                              void (*fill)(struct tm_session *s, struct tm_gather *g, uint32_t part,
                                           struct tm_request *r));
void tm_gather_answer(struct tm_session *s, struct tm_entry *e, uint32_t part,
                      const struct tm_answer *a);
/* Sends the joined reply. */
void tm_gather_compose(struct tm_session *s, struct tm_entry *e);

enum tm_step tm_session_chain(struct tm_session *s, const struct tm_command *c,
                              const struct tm_bytes *argv, unsigned argc);
void tm_chain_free(struct tm_session *s, struct tm_chain *chain);
void tm_chain_answer(struct tm_session *s, uint64_t number, const struct tm_answer *a);
void tm_chain_compose(struct tm_session *s, struct tm_entry *e);
/* Submits what found the router full; false: it still is. */
bool tm_chain_resume(struct tm_session *s, uint64_t number);

/* ---- session_node.c ---- */

/* From inside a local command that has written its reply: it concerns the other workers of this
 * node too, whose replies are to be joined to it in that way.  Inside a transaction it stays with
 * this worker. */
void tm_session_spread(struct tm_session *s, enum tm_gather_how how);
/* Asks the other workers; this one's reply stands in the scratch writer. */
void tm_session_ask_all(struct tm_session *s, const struct tm_bytes *argv, unsigned argc);

/* ---- session_multi.c ---- */

/* Queues a command after MULTI. */
void tm_multi_queue(struct tm_session *s, const struct tm_command *c, const struct tm_bytes *argv,
                    unsigned argc);
/* Queues WAIT or WAITAOF, whose good arguments the caller has checked; the copies are counted now
 * and noted by tm_multi_count_copies(s, *place, copies), which answers QUEUED.  False: refused, or
 * the session is doomed. */
bool tm_multi_queue_wait(struct tm_session *s, const struct tm_bytes *argv, unsigned argc,
                         uint32_t *place);
void tm_multi_count_copies(struct tm_session *s, uint32_t place, uint32_t copies);
/* A command after MULTI was refused: EXEC will fail. */
void tm_multi_abort(struct tm_session *s);
void tm_multi_free(struct tm_session *s, struct tm_multi **multi);
void tm_multi_compose(struct tm_session *s, struct tm_entry *e);
/* Gives the watch back to its partition; false: the router is full. */
bool tm_session_unwatch(struct tm_session *s);

/* ---- session_wait.c ---- */

/* A leader has answered part `part` of the WAIT of that number with too few copies, and there is
 * time left: asks it again.  False: the answer stands. */
bool tm_session_wait_on(struct tm_session *s, uint64_t number, uint32_t part,
                        const struct tm_answer *a);
/* Asks again what found the router full; false: it still is. */
bool tm_session_wait_resume(struct tm_session *s, uint64_t number);
/* The reply of a WAIT or WAITAOF of a transaction, whose last word is the number of copies, four
 * bytes (it is not there if the arguments were bad). */
void tm_session_compose_wait(struct tm_resp_writer *w, const struct tm_bytes *argv, unsigned argc);

/* Notes that this connection wrote record (index, term) of the partition: as struct tm_written
 * says.  Dooms the session if memory is short. */
void tm_session_note_write(struct tm_session *s, uint32_t partition, uint64_t index, uint64_t term);
/* The client was told the copies that g counted: a record of which its leader cannot tell is
 * forgotten, so that the next WAIT is about what was written besides. */
void tm_session_wait_told(struct tm_session *s, const struct tm_gather *g);
void tm_session_written_free(struct tm_session *s);

/* ---- session_connection.c, session_client.c ---- */

/* The redis whose behaviour is followed: clients look at it. */
#define TM_REDIS_VERSION "7.0.15"

/* One subcommand of a container (CLIENT, CONFIG ...); arity as in struct tm_command.  HELP lists
 * those that have a text, with the words they take ("" for none). */
struct tm_subcommand {
    const char *name;
    int arity;
    void (*run)(struct tm_session *s, struct tm_resp_writer *w, const struct tm_bytes *argv,
                unsigned argc);
    const char *words, *text;
};

/* Runs the subcommand argv[1], or HELP, or writes redis's error.  While all->checking nothing is
 * run: only the error is written if there is one. */
void tm_subcommand_dispatch(struct tm_session *s, struct tm_resp_writer *w,
                            const struct tm_subcommand *subs, unsigned count,
                            const struct tm_bytes *argv, unsigned argc);
void tm_session_wrong_arity(struct tm_resp_writer *w, const struct tm_bytes *argv);
void tm_session_wrong_sub_arity(struct tm_resp_writer *w, const struct tm_bytes *argv);
void tm_session_unknown_subcommand(struct tm_resp_writer *w, const struct tm_bytes *argv);
/* Names the connection; false: redis's error is written. */
bool tm_session_set_name(struct tm_session *s, struct tm_resp_writer *w, struct tm_bytes name);
void tm_session_names_free(struct tm_session *s);
/* The writer for a text that becomes one bulk, empty. */
struct tm_resp_writer *tm_session_text(struct tm_session *s);

#endif
