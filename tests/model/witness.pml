/* witness.pml: two copies and a witness (R = 2), small enough to be searched to the end.
 *
 * Nodes A and B hold data, W is the witness.  The rules are those of docs/PROTOCOL.md, in the steps
 * and under the names of actors/replica*.c; tests/model/test_names.py holds the two together:
 * states, messages, fields, functions, and the legal edges of the in-sync set's machine.
 *
 *   here                      there
 *   r[n].role, TM_ROLE_...    enum tm_replica_role
 *   r[n].step, TM_STEP_...    enum tm_insync_step; set_step of replica_insync.c
 *   m.kind, TM_MSG_...        enum tm_msg_kind
 *   r[n].hs                   struct tm_promise
 *   hs.insync.at              struct tm_insync: a bit per node instead of count and ids
 *   r[n].disk_insync          the set that the disk has, while hs.insync is on its way there
 *   r[n].log                  the terms of the records, LOG_BITS each, of 1..last; the disk has
 *                             1..durable.  An equal prefix here is an equal hash there
 *   r[n].match                of the other copy's struct tm_peer; 0: it is not TM_PEER_REPLICATE
 *   functions                 of the same name
 *
 * What may happen at any time: a node times out; a leader gives up, takes the other copy for lost,
 * finds it back, hands over; a record is written; a leader's disk completes what it was given; a
 * process dies, with all that its disk had not completed, and starts again.  A message arrives at
 * once, or never, or it stays behind (`late`) until any later time, so that others overtake it;
 * requests are repeated at any time, and answered each time, so that messages double.  Those of or
 * to a process that is no more do not arrive: channels see to that.
 *
 * Bounded are terms, records written, epochs of a leader's sets, and how many messages are late at a
 * time; crashes are not.
 *
 * What is simpler than in the product, and why nothing is lost by it:
 *   - The disk of who does not lead is done at once.  Until it was, nobody would hear of what
 *     changed; had the process died before, it would be as if the message had not come.
 *   - Leave to campaign is asked, given and used in one step: a leave that comes later finds the
 *     asker as it was, or is void.
 *   - Who does not lead recalls neither its commit index nor who leads, and timers are chance: more
 *     can happen than in the product.  A commit index of 0 is the least that a start may find.
 *   - A joined heartbeat is an APPEND without records.
 * Not here at all: health (suspect and faulty logs), members that change, wiped disks, snapshots,
 * --solo stop, eventual mode.  The simulator has them.
 *
 * States that differ in nothing that can matter any more are one: who led or voted in a term that is
 * over (tidy), which of the two copies is called A (rename_nodes).  A late message that is lost in
 * the end is as one that was lost at once, or not sent.
 *
 * RULE_... name what must always hold.  That the search sees is shown by what is planted (-DPLANTS, one
 * at a time): PLANT_... breaks one rule of the protocol, REACH_... says that something never happens
 * which has to.  Each must be refuted.  tools/model runs them all. */

#ifndef TERMS
#define TERMS 3 /* the first leader's is 1 */
#endif
#ifndef RECORDS
#define RECORDS 1 /* written by clients; the NOOP of each leader is a record besides */
#endif
#ifndef EPOCHS
#define EPOCHS 2 /* of one leader's sets; the first leader's begin with 0 */
#endif
#ifndef LATE
#define LATE 1
#endif

#define PLANT_A_VOTE_IS_FORGOTTEN                 1
#define PLANT_AN_OLDER_SET_IS_KEPT                2
#define PLANT_WIDENED_BEFORE_THE_COPY_HAS_IT      3
#define PLANT_WIDENED_BY_A_COMMIT_INDEX_OF_BEFORE 4
#define PLANT_ALONE_BEFORE_THE_WITNESS_KNOWS      5
#define PLANT_THE_WITNESS_IS_A_COPY               6
#define PLANT_A_STALE_COPY_IS_ELECTED             7
#define PLANT_THE_WITNESS_IS_TOLD_FIRST           8
#define PLANT_MEMORY_COUNTS_AS_DISK               9
#define PLANT_AN_OLD_LEADER_ANSWERS_READS         10
#define REACH_A_LONE_COMMIT                       11
#define REACH_BOTH_IN_SYNC_AGAIN                  12
#define REACH_ELECTED_ALONE                       13
#define REACH_A_CUT                               14
#define REACH_THREE_LEADERS_COMMIT                15
#define REACH_A_LEADER_OF_THE_PAST                16
#ifdef PLANTS
byte planted;
#define PLANTED(what) (planted == (what))
#define ROOM          (nfull(late) && planted >= REACH_A_LEADER_OF_THE_PAST) /* the others need none */
#else
#define PLANTED(what) false
#define ROOM          nfull(late)
#endif
#define REACHED(what) assert(!PLANTED(what))

#define A 0
#define B 1
#define W 2
#define TM_NODE_UNKNOWN 3

#define BIT(n)   (1 << (n))
#define OTHER(n) (1 - (n))
#define BOTH     (BIT(A) | BIT(B))

/* At most 5 records of up to 7 terms, or 7 of up to 3. */
#if TERMS > 3
#define LOG_BITS 3
#else
#define LOG_BITS 2
#endif
#define LOG_MAX (RECORDS + TERMS)
#define TERM_AT(log, i) (((log) >> (LOG_BITS * ((i) - 1))) & ((1 << LOG_BITS) - 1))
#define PREFIX(log, i)  ((log) & ((1 << (LOG_BITS * (i))) - 1))

#define MIN(a, b) ((a) < (b) -> (a) : (b))
#define MAX(a, b) ((a) > (b) -> (a) : (b))

mtype = { TM_ROLE_FOLLOWER, TM_ROLE_PRECANDIDATE, TM_ROLE_CANDIDATE, TM_ROLE_LEADER };

mtype = { TM_STEP_NONE, TM_STEP_NARROW_SELF, TM_STEP_NARROW_WITNESS, TM_STEP_WIDEN_WAIT,
          TM_STEP_WIDEN_SELF, TM_STEP_WIDEN_OTHER, TM_STEP_WIDEN_WITNESS };

mtype = { TM_MSG_PREVOTE, TM_MSG_VOTE, TM_MSG_VOTE_REPLY, TM_MSG_APPEND, TM_MSG_APPEND_REPLY,
          TM_MSG_INSYNC, TM_MSG_INSYNC_REPLY, TM_MSG_TIMEOUT_NOW };

typedef tm_insync {
    byte term;
    byte epoch;
    byte at;
    bool confirmed
}

typedef tm_promise {
    byte term;
    byte vote;
    tm_insync insync
}

typedef tm_replica {
    mtype role;
    mtype step;
    tm_promise hs;
    tm_insync disk_insync;
    short log;
    byte last;
    byte durable;
    byte commit;     /* leader */
    byte term_start; /* leader */
    byte match;      /* leader */
    byte granted     /* candidate: a bit per node */
}

typedef tm_replica_msg {
    mtype kind;
    byte from;
    byte to;
    byte term;
    byte index;      /* APPEND: of the record before; votes: the last one; APPEND_REPLY: durable */
    byte index_term; /* votes: of the last one */
    byte commit;     /* VOTE_REPLY: the term that was asked for */
    short body;      /* APPEND: the leader's log ... */
    byte end;        /* ... up to here */
    bool granted;
    bool pre;
    tm_insync insync
}

tm_replica r[3];
tm_replica_msg m;      /* the one in hand; empty between steps, as is the next */
tm_replica_msg answer; /* to it */
chan late = [LATE] of { tm_replica_msg };
byte written;

/* What was ever committed: the first `acked` records of the log `committed`.  Who led which term. */
short committed;
byte acked;
byte led[TERMS + 1];

/* Within one step only; a search breadth first must see them all the same. */
#ifdef BREADTH_FIRST
#define HIDDEN
#else
#define HIDDEN hidden
#endif
HIDDEN byte i;
HIDDEN tm_replica_msg held;
HIDDEN tm_replica other;
HIDDEN byte to_index;
HIDDEN byte grant;
HIDDEN byte asked_late; /* a bit per term for which a late message asks for votes */

#define NODE_RENAMED(n)   ((n) <= B -> OTHER(n) : (n))
#define BITS_RENAMED(set) (((set) & BIT(W)) | (((set) & BIT(A)) << 1) | (((set) & BIT(B)) >> 1))

/* 1: A is called B and B is called A (rename_nodes).  Only who tells a history needs it. */
hidden byte renamed;
#define NAME(n)   ((n) == W -> 'W' : 'A' + ((n) ^ renamed))
#define NAMES(at) (renamed -> BITS_RENAMED(at) : (at))

#define LEADS(n) (r[n].role == TM_ROLE_LEADER)

#define tm_replica_insync_has(s, n) ((s.at & BIT(n)) != 0)
#define tm_replica_eligible(n) \
    (tm_replica_insync_has(r[n].hs.insync, n) || PLANTED(PLANT_A_STALE_COPY_IS_ELECTED))
#define tm_replica_alone(n)         (r[n].hs.insync.at == BIT(n) && r[n].hs.insync.confirmed)
#define tm_replica_lone_commits(n)  (tm_replica_alone(n) && r[n].step == TM_STEP_NONE)

#define ORDER(s) (s.term * 8 + s.epoch)
#define tm_replica_settled(n) \
    (ORDER(r[n].disk_insync) == ORDER(r[n].hs.insync) && \
     r[n].disk_insync.confirmed == r[n].hs.insync.confirmed)

/* --- what must always hold --- */

#define HAS_ALL(n) (r[n].last >= acked && PREFIX(r[n].log, acked) == committed)
#define DISK_HAS(n, length, of) \
    (r[n].durable >= (length) && PREFIX(r[n].log, length) == PREFIX(of, length))


inline RULE_one_leader_a_term(n) {
    assert(led[r[n].hs.term] == TM_NODE_UNKNOWN);
    led[r[n].hs.term] = n
}

/* Nobody can come to lead that term any more: no need to recall who did. */
#define IS_OVER_FOR(n, term_) \
    (r[n].hs.term > term_ || (r[n].hs.term == term_ && r[n].role != TM_ROLE_CANDIDATE))
inline forget_leaders() {
    i = 1;
    do
    :: i <= TERMS ->
        if
        :: IS_OVER_FOR(A, i) && IS_OVER_FOR(B, i) -> led[i] = TM_NODE_UNKNOWN
        :: else
        fi;
        i++
    :: else -> break
    od
}

/* Nor for whom n voted, once nobody can ask for votes in that term any more. */
inline forget_vote(n) {
    if
    :: r[n].hs.vote != TM_NODE_UNKNOWN && IS_OVER_FOR(A, r[n].hs.term) &&
       IS_OVER_FOR(B, r[n].hs.term) && (asked_late & BIT(r[n].hs.term)) == 0 ->
        r[n].hs.vote = TM_NODE_UNKNOWN
    :: else
    fi
}

/* Who comes to lead a term so late that a later one has committed already, changes nothing. */
#define IS_LATE(n) (r[n].hs.term < TERM_AT(committed, acked))

inline RULE_a_leader_has_what_is_acknowledged(n) {
    assert(HAS_ALL(n) || IS_LATE(n));
    if
    :: IS_LATE(n) -> REACHED(REACH_A_LEADER_OF_THE_PAST)
    :: else
    fi
}

inline RULE_the_witness_elects_only_who_is_in_sync(n) {
    assert((r[n].granted & BIT(W)) == 0 || DISK_HAS(n, acked, committed) || IS_LATE(n))
}

inline RULE_what_is_committed_never_changes(n, length) {
    assert(PREFIX(r[n].log, MIN(length, acked)) == PREFIX(committed, MIN(length, acked)))
}

/* Both copies, or the one that may go on alone. */
inline RULE_what_is_acknowledged_is_durable_on_the_copies(n, length) {
    assert(DISK_HAS(n, length, r[n].log));
    if
    :: DISK_HAS(OTHER(n), length, r[n].log)
    :: else ->
        assert(tm_replica_alone(n) && r[W].hs.insync.at == BIT(n));
        REACHED(REACH_A_LONE_COMMIT)
    fi
}

inline RULE_what_is_acknowledged_is_not_cut(n, from) {
    assert(from > acked || PREFIX(r[n].log, from) != PREFIX(committed, from))
}

/* A round that begins now would confirm this leader: it may answer reads. */
#define CONFIRMED_BY(n, p) (p != n && r[p].hs.term == r[n].hs.term)
#define READS(n) \
    (LEADS(n) && r[n].commit >= r[n].term_start && \
     (tm_replica_alone(n) || CONFIRMED_BY(n, A) || CONFIRMED_BY(n, B) || CONFIRMED_BY(n, W) || \
      PLANTED(PLANT_AN_OLD_LEADER_ANSWERS_READS)))
#define RULE_a_confirmed_read_sees_what_is_acknowledged(n) (!READS(n) || r[n].commit == acked)

/* --- the hard state --- */

inline copy_set(to_set, from_set) {
    to_set.term = from_set.term;
    to_set.epoch = from_set.epoch;
    to_set.at = from_set.at;
    to_set.confirmed = from_set.confirmed
}

/* What was on its way to the disk is there; else crash comes first. */
inline disk_catches_up(n) {
    copy_set(r[n].disk_insync, r[n].hs.insync);
    r[n].durable = r[n].last
}

inline clear_leading(n) {
    r[n].step = TM_STEP_NONE;
    r[n].commit = 0;
    r[n].term_start = 0;
    r[n].match = 0;
    r[n].granted = 0
}

inline tm_replica_follow(n, new_term) {
    assert(new_term >= r[n].hs.term);
    if
    :: new_term > r[n].hs.term ->
        r[n].hs.term = new_term;
        r[n].hs.vote = TM_NODE_UNKNOWN
    :: else
    fi;
    if
    :: LEADS(n) -> printf("| %c leads no more\n", NAME(n))
    :: else
    fi;
    r[n].role = TM_ROLE_FOLLOWER;
    disk_catches_up(n);
    clear_leading(n)
}

#define FROM_LEADER \
    (m.kind == TM_MSG_APPEND || m.kind == TM_MSG_INSYNC || m.kind == TM_MSG_TIMEOUT_NOW)

inline weigh_term(n) {
    if
    :: m.kind != TM_MSG_PREVOTE && m.kind != TM_MSG_VOTE &&
       (m.term > r[n].hs.term || (FROM_LEADER && m.term == r[n].hs.term && !LEADS(n))) ->
        tm_replica_follow(n, m.term)
    :: else
    fi
}

/* --- the in-sync set --- */

#define IS_NEWER(s, n) \
    (ORDER(s) > ORDER(r[n].hs.insync) || \
     (PLANTED(PLANT_AN_OLDER_SET_IS_KEPT) && ORDER(s) != ORDER(r[n].hs.insync)))

/* The set that m shows. */
inline tm_replica_insync_adopt(n) {
    if
    :: IS_NEWER(m.insync, n) && !LEADS(n) ->
        if
        :: m.insync.term > r[n].hs.term -> tm_replica_follow(n, m.insync.term)
        :: else
        fi;
        copy_set(r[n].hs.insync, m.insync);
        r[n].hs.insync.confirmed = false;
        printf("| %c keeps set %d of term %d\n", NAME(n), NAMES(m.insync.at), m.insync.term);
        disk_catches_up(n);
        if
        :: !tm_replica_eligible(n) ->
            r[n].role = TM_ROLE_FOLLOWER;
            r[n].granted = 0
        :: else
        fi
    :: else
    fi
}

/* The legal edges, as in the table of replica_insync.c. */
#define EDGE(n, from, to) (r[n].step == from && new_step == to)
inline set_step(n, new_step) {
    assert(EDGE(n, TM_STEP_NONE, TM_STEP_NARROW_SELF) ||
           EDGE(n, TM_STEP_NONE, TM_STEP_WIDEN_WAIT) ||
           EDGE(n, TM_STEP_NONE, TM_STEP_WIDEN_SELF) ||
           EDGE(n, TM_STEP_NARROW_SELF, TM_STEP_NARROW_WITNESS) ||
           EDGE(n, TM_STEP_NARROW_WITNESS, TM_STEP_NONE) ||
           EDGE(n, TM_STEP_NARROW_WITNESS, TM_STEP_WIDEN_WAIT) ||
           EDGE(n, TM_STEP_WIDEN_WAIT, TM_STEP_NONE) ||
           EDGE(n, TM_STEP_WIDEN_WAIT, TM_STEP_NARROW_WITNESS) ||
           EDGE(n, TM_STEP_WIDEN_WAIT, TM_STEP_WIDEN_SELF) ||
           EDGE(n, TM_STEP_WIDEN_SELF, TM_STEP_WIDEN_OTHER) ||
           EDGE(n, TM_STEP_WIDEN_SELF, TM_STEP_NARROW_SELF) ||
           EDGE(n, TM_STEP_WIDEN_OTHER, TM_STEP_WIDEN_WITNESS) ||
           EDGE(n, TM_STEP_WIDEN_OTHER, TM_STEP_NARROW_SELF) ||
           EDGE(n, TM_STEP_WIDEN_WITNESS, TM_STEP_NONE) ||
           EDGE(n, TM_STEP_WIDEN_WITNESS, TM_STEP_NARROW_SELF));
    printf("| %c: %e -> %e\n", NAME(n), r[n].step, new_step);
    r[n].step = new_step
}

#define NEXT_EPOCH(n) (r[n].hs.insync.term == r[n].hs.term -> r[n].hs.insync.epoch + 1 : 1)

inline make_set(n, new_at) {
    assert(r[n].hs.insync.term <= r[n].hs.term);
    r[n].hs.insync.epoch = NEXT_EPOCH(n);
    r[n].hs.insync.term = r[n].hs.term;
    r[n].hs.insync.at = new_at;
    r[n].hs.insync.confirmed = false
}

inline narrow(n) {
    make_set(n, BIT(n));
    set_step(n, TM_STEP_NARROW_SELF)
}

inline widen(n) {
    make_set(n, BOTH);
    set_step(n, TM_STEP_WIDEN_SELF)
}

/* Where the other is down, too, narrow follows at once: tm_replica_lost is chance. */
inline tm_replica_insync_lead(n) {
    if
    :: tm_replica_alone(n)
    :: else ->
        if
        :: r[n].hs.insync.at == BOTH -> widen(n)
        :: else -> narrow(n)
        fi
    fi
}

#define ready_to_widen(n) \
    (r[n].match > 0 && (r[n].commit >= r[n].term_start || r[n].step == TM_STEP_NARROW_WITNESS))

/* Before a record of this term is committed the leader may not know of all that is. */
#define has_committed(n) \
    (PLANTED(PLANT_WIDENED_BEFORE_THE_COPY_HAS_IT) || \
     ((r[n].commit >= r[n].term_start || PLANTED(PLANT_WIDENED_BY_A_COMMIT_INDEX_OF_BEFORE)) && \
      r[n].match >= r[n].commit))

inline confirmed_by_witness(n) {
    assert(r[n].hs.insync.at == BIT(n));
    r[n].hs.insync.confirmed = true;
    set_step(n, TM_STEP_NONE);
    tm_replica_commit_count(n)
}

inline tm_replica_insync_persisted(n) {
    if
    :: r[n].step == TM_STEP_NARROW_SELF ->
        set_step(n, TM_STEP_NARROW_WITNESS);
        if
        :: PLANTED(PLANT_ALONE_BEFORE_THE_WITNESS_KNOWS) -> confirmed_by_witness(n)
        :: else
        fi
    :: r[n].step == TM_STEP_WIDEN_SELF -> set_step(n, TM_STEP_WIDEN_OTHER)
    :: else
    fi
}

inline tm_replica_on_insync(n) {
    if
    :: m.term == r[n].hs.term ->
        tm_replica_insync_adopt(n);
        make_answer(n, TM_MSG_INSYNC_REPLY);
        copy_set(answer.insync, r[n].hs.insync)
    :: else
    fi
}

inline tm_replica_on_insync_reply(n) {
    if
    :: LEADS(n) && m.term == r[n].hs.term && ORDER(m.insync) == ORDER(r[n].hs.insync) ->
        assert(m.insync.at == r[n].hs.insync.at);
        if
        :: m.from == W && r[n].step == TM_STEP_NARROW_WITNESS -> confirmed_by_witness(n)
        :: m.from == W && r[n].step == TM_STEP_WIDEN_WITNESS ->
            set_step(n, TM_STEP_NONE);
            if
            :: r[n].hs.insync.epoch > 1 -> REACHED(REACH_BOTH_IN_SYNC_AGAIN)
            :: else
            fi
        :: m.from != W && r[n].step == TM_STEP_WIDEN_OTHER -> set_step(n, TM_STEP_WIDEN_WITNESS)
        :: else
        fi
    :: else
    fi
}

/* --- commit --- */

#define ON_DISK(n) (PLANTED(PLANT_MEMORY_COUNTS_AS_DISK) -> r[n].last : r[n].durable)
#define quorum_index(n) \
    (tm_replica_lone_commits(n) || PLANTED(PLANT_THE_WITNESS_IS_A_COPY) \
         -> ON_DISK(n) : MIN(ON_DISK(n), r[n].match))

inline tm_replica_commit_to(n, length) {
    RULE_what_is_committed_never_changes(n, length);
    printf("| %c commits %d\n", NAME(n), length);
    r[n].commit = length;
    if
    :: length > acked ->
        RULE_what_is_acknowledged_is_durable_on_the_copies(n, length);
        if
        :: r[n].hs.term == 3 && TERM_AT(committed, acked) == 2 ->
            REACHED(REACH_THREE_LEADERS_COMMIT)
        :: else
        fi;
        committed = PREFIX(r[n].log, length);
        acked = length
    :: else
    fi
}

inline tm_replica_commit_count(n) {
    if
    :: LEADS(n) ->
        to_index = quorum_index(n);
        if
        :: to_index > r[n].commit && to_index >= r[n].term_start ->
            tm_replica_commit_to(n, to_index)
        :: else
        fi
    :: else
    fi
}

/* --- messages are made --- */

inline copy_msg(to_msg, from_msg) {
    to_msg.kind = from_msg.kind;
    to_msg.from = from_msg.from;
    to_msg.to = from_msg.to;
    to_msg.term = from_msg.term;
    to_msg.index = from_msg.index;
    to_msg.index_term = from_msg.index_term;
    to_msg.commit = from_msg.commit;
    to_msg.body = from_msg.body;
    to_msg.end = from_msg.end;
    to_msg.granted = from_msg.granted;
    to_msg.pre = from_msg.pre;
    copy_set(to_msg.insync, from_msg.insync)
}

inline clear_msg(msg) {
    msg.kind = 0;
    msg.from = 0;
    msg.to = 0;
    msg.term = 0;
    msg.index = 0;
    msg.index_term = 0;
    msg.commit = 0;
    msg.body = 0;
    msg.end = 0;
    msg.granted = false;
    msg.pre = false;
    msg.insync.term = 0;
    msg.insync.epoch = 0;
    msg.insync.at = 0;
    msg.insync.confirmed = false
}

inline make(n, to_node, of_kind) {
    m.kind = of_kind;
    m.from = n;
    m.to = to_node;
    m.term = r[n].hs.term
}

#define LAST_TERM(n) (r[n].last == 0 -> 0 : TERM_AT(r[n].log, r[n].last))
inline make_vote(n, to_node, of_kind) {
    make(n, to_node, of_kind);
    m.index = r[n].last;
    m.index_term = LAST_TERM(n);
    copy_set(m.insync, r[n].hs.insync)
}

/* The records after `after`, up to `to_end`. */
inline make_append(n, after, to_end) {
    make(n, OTHER(n), TM_MSG_APPEND);
    m.index = after;
    m.body = PREFIX(r[n].log, to_end);
    m.end = to_end
}

inline make_insync(n, to_node) {
    make(n, to_node, TM_MSG_INSYNC);
    copy_set(m.insync, r[n].hs.insync)
}

inline make_answer(n, of_kind) {
    answer.kind = of_kind;
    answer.from = n;
    answer.to = m.from;
    answer.term = r[n].hs.term
}

/* --- elections --- */

#define log_reaches_mine(n) \
    (m.index_term != LAST_TERM(n) -> m.index_term > LAST_TERM(n) : m.index >= r[n].last)

/* What a copy has that is not in its own set binds nobody who is in it. */
#define fit_to_lead(n) \
    ((log_reaches_mine(n) || !tm_replica_insync_has(r[n].hs.insync, n)) && \
     (tm_replica_insync_has(r[n].hs.insync, m.from) || PLANTED(PLANT_A_STALE_COPY_IS_ELECTED)))

/* Two of three, or the confirmed set of one. */
#define election_won(n) (r[n].granted != BIT(n) || tm_replica_alone(n))

inline append_record(n) {
    assert(r[n].last < LOG_MAX);
    r[n].last++;
    printf("| %c writes record %d in term %d\n", NAME(n), r[n].last, r[n].hs.term);
    r[n].log = r[n].log | (r[n].hs.term << (LOG_BITS * (r[n].last - 1)))
}

inline lead_if_won(n) {
    if
    :: election_won(n) ->
        printf("| %c leads term %d\n", NAME(n), r[n].hs.term);
        RULE_one_leader_a_term(n);
        RULE_the_witness_elects_only_who_is_in_sync(n);
        RULE_a_leader_has_what_is_acknowledged(n);
        assert(tm_replica_settled(n) && r[n].hs.vote == n);
        if
        :: r[n].granted == BIT(n) -> REACHED(REACH_ELECTED_ALONE)
        :: else
        fi;
        r[n].role = TM_ROLE_LEADER;
        clear_leading(n);
        append_record(n); /* NOOP */
        r[n].term_start = r[n].last;
        tm_replica_insync_lead(n)
    :: else
    fi
}

inline tm_replica_campaign(n) {
    if
    :: r[n].hs.term < TERMS ->
        r[n].role = TM_ROLE_CANDIDATE;
        r[n].hs.term++;
        r[n].hs.vote = n;
        printf("| %c campaigns for term %d\n", NAME(n), r[n].hs.term);
        r[n].granted = BIT(n);
        lead_if_won(n)
    :: else
    fi
}

inline campaign_if_leave(n) {
    if
    :: election_won(n) -> tm_replica_campaign(n)
    :: else
    fi
}

/* Asks one of the two for leave, and hears its answer. */
inline tm_replica_prevote(n, voter) {
    r[n].role = TM_ROLE_PRECANDIDATE;
    r[n].granted = BIT(n);
    printf("| %c asks %c for leave\n", NAME(n), NAME(voter));
    make_vote(n, voter, TM_MSG_PREVOTE);
    m.term++;
    tm_replica_on_prevote(m.to);
    clear_msg(m);
    if
    :: answer.kind != 0 ->
        copy_msg(m, answer);
        clear_msg(answer);
        tm_replica_on_vote_reply(m.to);
        clear_msg(m)
    :: else
    fi;
    if
    :: r[n].role == TM_ROLE_PRECANDIDATE ->
        r[n].role = TM_ROLE_FOLLOWER;
        r[n].granted = 0
    :: else
    fi
}

inline answer_vote(n, is_pre) {
    make_answer(n, TM_MSG_VOTE_REPLY);
    answer.commit = m.term;
    answer.pre = is_pre;
    answer.granted = grant;
    copy_set(answer.insync, r[n].hs.insync)
}

inline tm_replica_on_prevote(n) {
    if
    :: m.term > r[n].hs.term -> tm_replica_insync_adopt(n)
    :: else
    fi;
    grant = m.term > r[n].hs.term && !LEADS(n) && fit_to_lead(n);
    if
    :: tm_replica_settled(n) -> answer_vote(n, true)
    :: else
    fi
}

inline tm_replica_on_vote(n) {
    if
    :: m.term > r[n].hs.term -> tm_replica_follow(n, m.term)
    :: else
    fi;
    if
    :: m.term == r[n].hs.term ->
        tm_replica_insync_adopt(n);
        if
        :: r[n].role == TM_ROLE_FOLLOWER && r[n].hs.vote == TM_NODE_UNKNOWN && fit_to_lead(n) ->
            r[n].hs.vote = m.from
        :: else
        fi
    :: else
    fi;
    grant = m.term == r[n].hs.term && r[n].hs.vote == m.from;
    if
    :: tm_replica_settled(n) -> answer_vote(n, false)
    :: else
    fi
}

inline tm_replica_on_vote_reply(n) {
    tm_replica_insync_adopt(n);
    if
    :: m.granted && m.pre && r[n].role == TM_ROLE_PRECANDIDATE &&
       m.commit == r[n].hs.term + 1 ->
        r[n].granted = r[n].granted | BIT(m.from);
        campaign_if_leave(n)
    :: m.granted && !m.pre && r[n].role == TM_ROLE_CANDIDATE &&
       m.term == r[n].hs.term && m.commit == r[n].hs.term ->
        r[n].granted = r[n].granted | BIT(m.from);
        lead_if_won(n)
    :: else
    fi
}

inline tm_replica_on_timeout_now(n) {
    if
    :: m.term == r[n].hs.term && r[n].role == TM_ROLE_FOLLOWER && tm_replica_eligible(n) ->
        tm_replica_campaign(n)
    :: else
    fi
}

/* --- records --- */

/* The first index at which the own log and m's part, or one past the shorter: i. */
inline compare(n) {
    i = 1;
    do
    :: i <= MIN(r[n].last, m.end) && TERM_AT(r[n].log, i) == TERM_AT(m.body, i) -> i++
    :: else -> break
    od
}

inline cut(n, from) {
    printf("| %c cuts from %d\n", NAME(n), from);
    RULE_what_is_acknowledged_is_not_cut(n, from);
    REACHED(REACH_A_CUT);
    r[n].log = PREFIX(r[n].log, from - 1);
    r[n].last = from - 1
}

inline tm_replica_on_append(n) {
    if
    :: m.term == r[n].hs.term && n != W ->
        assert(r[n].role == TM_ROLE_FOLLOWER);
        compare(n);
        if
        :: i > m.index -> /* FITS */
            if
            :: i <= r[n].last && i <= m.end -> cut(n, i) /* CONFLICT */
            :: else
            fi;
            if
            :: m.end > r[n].last ->
                r[n].log = m.body;
                r[n].last = m.end
            :: else
            fi;
            disk_catches_up(n);
            make_answer(n, TM_MSG_APPEND_REPLY);
            answer.index = m.end
        :: else
        fi
    :: else
    fi
}

inline tm_replica_on_append_reply(n) {
    if
    :: LEADS(n) && m.term == r[n].hs.term ->
        assert(m.index <= r[n].last);
        r[n].match = MAX(r[n].match, m.index);
        tm_replica_commit_count(n)
    :: else
    fi
}

/* The disk has the log as it is now. */
inline tm_replica_durable(n) {
    printf("| disk of %c has records 1..%d\n", NAME(n), r[n].last);
    r[n].durable = r[n].last;
    tm_replica_commit_count(n)
}

/* The disk has the in-sync set as it is now. */
inline tm_replica_persisted(n) {
    printf("| disk of %c has its set, confirmed %d\n", NAME(n), r[n].hs.insync.confirmed);
    copy_set(r[n].disk_insync, r[n].hs.insync);
    tm_replica_insync_persisted(n)
}

/* --- messages arrive --- */

/* m, with its answer in `answer`. */
inline tm_replica_receive(n) {
    printf("| %c -> %c: %e, term %d, records %d..%d, granted %d\n", NAME(m.from), NAME(n), m.kind,
           m.term, m.index, m.end, m.granted);
    weigh_term(n);
    if
    :: m.kind == TM_MSG_PREVOTE -> tm_replica_on_prevote(n)
    :: m.kind == TM_MSG_VOTE -> tm_replica_on_vote(n)
    :: m.kind == TM_MSG_VOTE_REPLY -> tm_replica_on_vote_reply(n)
    :: m.kind == TM_MSG_APPEND -> tm_replica_on_append(n)
    :: m.kind == TM_MSG_APPEND_REPLY -> tm_replica_on_append_reply(n)
    :: m.kind == TM_MSG_INSYNC -> tm_replica_on_insync(n)
    :: m.kind == TM_MSG_INSYNC_REPLY -> tm_replica_on_insync_reply(n)
    :: m.kind == TM_MSG_TIMEOUT_NOW -> tm_replica_on_timeout_now(n)
    fi
}

#define TELLS_WITNESS(n) \
    ((tm_replica_settled(n) && \
      (r[n].step == TM_STEP_NARROW_WITNESS || r[n].step == TM_STEP_WIDEN_WITNESS)) || \
     (PLANTED(PLANT_THE_WITNESS_IS_TOLD_FIRST) && \
      (r[n].step == TM_STEP_WIDEN_SELF || r[n].step == TM_STEP_WIDEN_OTHER)))

#define ASKS_VOTES(n) (r[n].role == TM_ROLE_CANDIDATE)
/* tm_replica_transfer and its conditions. */
#define HANDS_OVER(n) \
    (LEADS(n) && r[n].match == r[n].last && tm_replica_insync_has(r[n].hs.insync, OTHER(n)) && \
     (r[n].step == TM_STEP_NONE || r[n].step == TM_STEP_WIDEN_WITNESS) && r[n].hs.term < TERMS)

/* What n may have to say now.  An APPEND either carries all that the other lacks, or asks without
 * records where the logs meet. */
#define REQUESTS(n) \
    :: d_step { ASKS_VOTES(n) -> make_vote(n, OTHER(n), TM_MSG_VOTE) } \
    :: d_step { ASKS_VOTES(n) -> make_vote(n, W, TM_MSG_VOTE) } \
    :: d_step { LEADS(n) -> make_append(n, 0, r[n].last) } \
    :: d_step { LEADS(n) && r[n].match == 0 -> make_append(n, 1, 1) } \
    :: d_step { LEADS(n) && r[n].match < 2 && r[n].last >= 2 -> make_append(n, 2, 2) } \
    :: d_step { LEADS(n) && r[n].match < 3 && r[n].last >= 3 -> make_append(n, 3, 3) } \
    :: d_step { LEADS(n) && r[W].hs.term < r[n].hs.term -> make(n, W, TM_MSG_APPEND) } \
    :: d_step { LEADS(n) && tm_replica_settled(n) && r[n].step == TM_STEP_WIDEN_OTHER -> \
        make_insync(n, OTHER(n)) } \
    :: d_step { LEADS(n) && TELLS_WITNESS(n) -> make_insync(n, W) } \
    :: d_step { HANDS_OVER(n) -> make(n, OTHER(n), TM_MSG_TIMEOUT_NOW) }

/* A probe or a heartbeat that is late is as good as one that begins later. */
#define MAY_BE_LATE(msg) (ROOM && (msg.kind != TM_MSG_APPEND || msg.index < msg.end))
#define IS_ANSWER(msg) \
    (msg.kind == TM_MSG_VOTE_REPLY || msg.kind == TM_MSG_APPEND_REPLY || \
     msg.kind == TM_MSG_INSYNC_REPLY)

/* A message that can change nothing any more, for terms and sets only grow: it is as good as lost. */
#define TO(msg) r[msg.to]
#define SHOWS_NO_NEWS(msg) (ORDER(msg.insync) <= ORDER(TO(msg).hs.insync) || LEADS(msg.to))
#define IS_STALE(msg) \
    ((msg.kind != TM_MSG_VOTE_REPLY && msg.term < TO(msg).hs.term) || \
     ((msg.kind == TM_MSG_APPEND_REPLY || msg.kind == TM_MSG_INSYNC_REPLY) && \
      msg.term == TO(msg).hs.term && !LEADS(msg.to)) || \
     (msg.kind == TM_MSG_APPEND_REPLY && msg.term == TO(msg).hs.term && \
      msg.index <= TO(msg).match) || \
     (msg.kind == TM_MSG_INSYNC_REPLY && msg.term == TO(msg).hs.term && \
      ORDER(msg.insync) < ORDER(TO(msg).hs.insync)) || \
     (msg.kind == TM_MSG_INSYNC && msg.term == TO(msg).hs.term && SHOWS_NO_NEWS(msg)) || \
     (msg.kind == TM_MSG_VOTE && msg.term == TO(msg).hs.term && SHOWS_NO_NEWS(msg) && \
      TO(msg).hs.vote != TM_NODE_UNKNOWN) || \
     (msg.kind == TM_MSG_VOTE_REPLY && msg.term <= TO(msg).hs.term && SHOWS_NO_NEWS(msg) && \
      (!msg.granted || msg.commit < TO(msg).hs.term + msg.pre)))

/* At one that is late, in `held`: is it stale? */
inline look_late() {
    if
    :: IS_STALE(held) -> clear_msg(held)
    :: else ->
        if
        :: held.kind == TM_MSG_VOTE -> asked_late = asked_late | BIT(held.term)
        :: else
        fi
    fi
}

/* What no longer matters is forgotten, so that states that differ in nothing else are one. */
inline tidy() {
    assert(RULE_a_confirmed_read_sees_what_is_acknowledged(A));
    assert(RULE_a_confirmed_read_sees_what_is_acknowledged(B));
    forget_leaders();
    asked_late = 0;
    if
    :: len(late) > 0 ->
        late?held;
        look_late();
        if
        :: held.kind != 0 -> late!held
        :: else
        fi;
        if
        :: len(late) == 2 || (len(late) == 1 && held.kind == 0) ->
            late?held;
            look_late();
            if
            :: held.kind != 0 -> late!!held
            :: else
            fi
        :: else
        fi
    :: else
    fi;
    forget_vote(A);
    forget_vote(B);
    forget_vote(W);
    clear_msg(held)
}

/* --- A and B have the same rules --- */

/* Of two states that differ in nothing but which of the two is A, one is looked at: that in which A
 * is further in this order (which need not tell all states apart: then both are looked at).  A field
 * that holds a node or a set of them has to be renamed, too: where one was forgotten, the opposite
 * order mostly comes to another number of states, which tools/model looks at. */
#define RANK(n) \
    ((((((r[n].role * 8 + r[n].hs.term) * 8 + r[n].last) * 8 + r[n].durable) * 8 + r[n].commit) * \
      32 + r[n].step) * 8 + r[n].match)
#define VOTE_OF(n) \
    (r[n].hs.vote == n -> 3 : (r[n].hs.vote == OTHER(n) -> 2 : (r[n].hs.vote == W -> 1 : 0)))
#define FINE_RANK(n) \
    ((((((ORDER(r[n].hs.insync) * 64 + ORDER(r[n].disk_insync)) * 2 + r[n].hs.insync.confirmed) * \
        4 + VOTE_OF(n)) * 2 + tm_replica_insync_has(r[n].hs.insync, n)) * 2 + \
      tm_replica_insync_has(r[n].hs.insync, OTHER(n))) * 1024 + (r[n].log & 1023))
#define IS_BEHIND(n, p) \
    (RANK(n) < RANK(p) || (RANK(n) == RANK(p) && FINE_RANK(n) < FINE_RANK(p)))

#ifdef OPPOSITE
#define EXCHANGED IS_BEHIND(B, A)
#else
#define EXCHANGED IS_BEHIND(A, B)
#endif

inline copy_replica(to_replica, from_replica) {
    to_replica.role = from_replica.role;
    to_replica.step = from_replica.step;
    to_replica.hs.term = from_replica.hs.term;
    to_replica.hs.vote = from_replica.hs.vote;
    copy_set(to_replica.hs.insync, from_replica.hs.insync);
    copy_set(to_replica.disk_insync, from_replica.disk_insync);
    to_replica.log = from_replica.log;
    to_replica.last = from_replica.last;
    to_replica.durable = from_replica.durable;
    to_replica.commit = from_replica.commit;
    to_replica.term_start = from_replica.term_start;
    to_replica.match = from_replica.match;
    to_replica.granted = from_replica.granted
}

inline rename_in_replica(n) {
    r[n].hs.vote = NODE_RENAMED(r[n].hs.vote);
    r[n].hs.insync.at = BITS_RENAMED(r[n].hs.insync.at);
    r[n].disk_insync.at = BITS_RENAMED(r[n].disk_insync.at);
    r[n].granted = BITS_RENAMED(r[n].granted)
}

inline rename_in_msg(msg) {
    msg.from = NODE_RENAMED(msg.from);
    msg.to = NODE_RENAMED(msg.to);
    msg.insync.at = BITS_RENAMED(msg.insync.at)
}

inline rename_in_late() {
    if
    :: len(late) == 1 ->
        late?held;
        rename_in_msg(held);
        late!held
    :: len(late) == 2 ->
        late?held;
        late?m;
        rename_in_msg(held);
        rename_in_msg(m);
        late!held;
        late!!m;
        clear_msg(m)
    :: else
    fi;
    clear_msg(held)
}

/* The end of a step, with no message in hand. */
inline rename_nodes() {
    if
    :: EXCHANGED ->
        copy_replica(other, r[A]);
        copy_replica(r[A], r[B]);
        copy_replica(r[B], other);
        rename_in_replica(A);
        rename_in_replica(B);
        rename_in_replica(W);
        i = 1;
        do
        :: i <= TERMS ->
            led[i] = NODE_RENAMED(led[i]);
            i++
        :: else -> break
        od;
        rename_in_late();
        renamed = 1 - renamed
    :: else
    fi
}

#define IN_TOUCH(msg, n) (msg.from == n || msg.to == n)

inline forget_messages(n) {
    if
    :: len(late) == 1 ->
        late?m;
        if
        :: IN_TOUCH(m, n)
        :: else -> late!m
        fi
    :: len(late) == 2 ->
        late?held;
        late?m;
        if
        :: IN_TOUCH(held, n)
        :: else -> late!held
        fi;
        if
        :: IN_TOUCH(m, n)
        :: else -> late!m
        fi
    :: else
    fi;
    clear_msg(m);
    clear_msg(held)
}

/* The second of two late messages, into m. */
inline take_second() {
    late?held;
    late?m;
    late!held;
    clear_msg(held)
}

/* --- what nodes do by themselves --- */

#define TIMES_OUT(n) (!LEADS(n) && tm_replica_eligible(n) && r[n].hs.term < TERMS)
#define IS_LOST(n) (LEADS(n) && r[n].hs.insync.at == BOTH && NEXT_EPOCH(n) <= EPOCHS)
#define IS_BACK(n) \
    (LEADS(n) && r[n].hs.insync.at == BIT(n) && ready_to_widen(n) && NEXT_EPOCH(n) <= EPOCHS && \
     (r[n].step == TM_STEP_NONE || r[n].step == TM_STEP_NARROW_WITNESS))
#define WAITS(n) (LEADS(n) && r[n].step == TM_STEP_WIDEN_WAIT)

inline lost_again(n) {
    if
    :: r[n].hs.insync.confirmed -> set_step(n, TM_STEP_NONE)
    :: else -> set_step(n, TM_STEP_NARROW_WITNESS)
    fi;
    tm_replica_commit_count(n)
}

/* The process dies and starts again with what the disk has. */
inline crash(n) {
    printf("| %c dies and starts again\n", NAME(n));
    copy_set(r[n].hs.insync, r[n].disk_insync);
    r[n].role = TM_ROLE_FOLLOWER;
    clear_leading(n);
    r[n].log = PREFIX(r[n].log, r[n].durable);
    r[n].last = r[n].durable;
    if
    :: PLANTED(PLANT_A_VOTE_IS_FORGOTTEN) -> r[n].hs.vote = TM_NODE_UNKNOWN
    :: else
    fi;
    forget_messages(n)
}

#define HAS_TO_LOSE(n) (r[n].role != TM_ROLE_FOLLOWER || nempty(late))

#define DATA_STEPS(n) \
    :: d_step { TIMES_OUT(n) && tm_replica_alone(n) -> tm_replica_campaign(n) } \
    :: d_step { TIMES_OUT(n) -> tm_replica_prevote(n, OTHER(n)) } \
    :: d_step { TIMES_OUT(n) -> tm_replica_prevote(n, W) } \
    :: d_step { LEADS(n) -> tm_replica_follow(n, r[n].hs.term) /* tm_replica_resign */ } \
    :: d_step { IS_LOST(n) -> narrow(n) } \
    :: d_step { IS_BACK(n) -> set_step(n, TM_STEP_WIDEN_WAIT) } \
    :: d_step { WAITS(n) -> lost_again(n) } \
    :: d_step { WAITS(n) && has_committed(n) -> widen(n) } \
    :: d_step { LEADS(n) && written < RECORDS -> append_record(n); written++ } \
    :: d_step { r[n].durable < r[n].last -> tm_replica_durable(n) } \
    :: d_step { !tm_replica_settled(n) -> tm_replica_persisted(n) }

/* A leads term 1 with both in sync, its NOOP is committed, and all know it. */
inline begin(n) {
    r[n].role = TM_ROLE_FOLLOWER;
    r[n].step = TM_STEP_NONE;
    r[n].hs.term = 1;
    r[n].hs.vote = A;
    r[n].hs.insync.term = 1;
    r[n].hs.insync.at = BOTH;
    if
    :: n != W ->
        r[n].log = 1;
        r[n].last = 1
    :: else
    fi;
    disk_catches_up(n)
}

inline begin_all() {
    begin(A);
    begin(B);
    begin(W);
    r[A].role = TM_ROLE_LEADER;
    r[A].commit = 1;
    r[A].term_start = 1;
    r[A].match = 1;
    committed = 1;
    acked = 1;
    i = 0;
    do
    :: i <= TERMS ->
        led[i] = TM_NODE_UNKNOWN;
        i++
    :: else -> break
    od;
    led[1] = A
}

active proctype cluster() {
#ifdef PLANTED_IS
    planted = PLANTED_IS;
#elif defined(PLANTS)
    c_code { now.planted = (unsigned char)atoi(getenv("PLANTED")); };
#endif
    d_step { begin_all() };
end:
    do
    :: atomic {
        if
        DATA_STEPS(A)
        DATA_STEPS(B)
        :: d_step { HAS_TO_LOSE(A) -> crash(A) }
        :: d_step { HAS_TO_LOSE(B) -> crash(B) }
        :: d_step { HAS_TO_LOSE(W) -> crash(W) }
        REQUESTS(A)
        REQUESTS(B)
        :: d_step { nempty(late) -> late?m }
        :: d_step { len(late) == 2 -> take_second() }
        fi;
deliver:
        if
        :: d_step { m.kind == 0 -> tidy() }
        :: d_step { m.kind != 0 -> tm_replica_receive(m.to); clear_msg(m); tidy() }
        :: d_step { m.kind != 0 && MAY_BE_LATE(m) ->
            printf("| %c -> %c: %e of term %d stays behind\n", NAME(m.from), NAME(m.to), m.kind,
                   m.term);
            late!!m; clear_msg(m) }
        :: d_step { IS_ANSWER(m) -> clear_msg(m) }
        fi;
        if
        :: d_step { answer.kind != 0 -> copy_msg(m, answer); clear_msg(answer) };
            goto deliver
        :: d_step { answer.kind == 0 -> rename_nodes() }
        fi
    }
    od
}
