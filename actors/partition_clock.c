/* A clock that is wrong does little harm where it does not stamp: a leader whose wall clock is
 * ahead of a quorum's by more than --max-clock-skew-ms writes nothing more and hands over to a copy
 * whose clock it is ahead of; a follower's stamps are not pulled along by such a leader beyond
 * that.  In a cluster that is linked with others they are: what it writes when it leads has to be
 * later than what is there, for stamps decide elsewhere what stays.
 *
 * What peers' clocks say comes with the answers to heartbeats.  Of two nodes nobody can tell which
 * one is wrong. */
#include "actors/partition_internal.h"

#include "actors/heartbeat.h"

#include <inttypes.h>

#define WARN_NS TM_SECONDS(10) /* between two lines of one worker */

static bool is_ahead_of(const struct tm_partition *p, unsigned place)
{
    unsigned node = p->replica.members.at[place].id.node;
    return node != p->env->self.node && tm_beat_ahead_ms(p->env->beat, &p->replica, node) >
                                            (int64_t)p->env->options->max_clock_skew_ms;
}

static bool is_ahead_of_quorum(const struct tm_partition *p)
{
    const struct tm_members *m = &p->replica.members;
    unsigned voters = 0, behind = 0;
    for (unsigned i = 0; i < m->count; i++)
        if (m->at[i].role == TM_MEMBER_VOTER || m->at[i].role == TM_MEMBER_WITNESS) {
            voters++;
            behind += is_ahead_of(p, i);
        }
    return behind >= voters / 2 + 1;
}

static bool may_warn(struct tm_partition_env *env)
{
    uint64_t now = tm_ctx_now(env->ctx);
    if (env->clock_warned_at != 0 && now - env->clock_warned_at < WARN_NS)
        return false;
    env->clock_warned_at = now;
    return true;
}

/* The copy that has most, of those whose clock is behind. */
static void hand_over(struct tm_partition *p)
{
    const struct tm_members *m = &p->replica.members;
    const struct tm_peer *best = NULL;
    for (unsigned i = 0; i < m->count; i++) {
        const struct tm_peer *peer = &p->replica.peer[i];
        if (m->at[i].role == TM_MEMBER_VOTER && is_ahead_of(p, i) && !peer->down &&
            (best == NULL || peer->match > best->match))
            best = peer;
    }
    if (best == NULL || tm_replica_transfer(&p->replica, best->id.node) != TM_OK)
        return;
    tm_counter_add(p->env->ctx->counters, TM_COUNTER_clock_handovers, 1);
    if (may_warn(p->env))
        tm_ctx_log(p->env->ctx, TM_LOG_ERROR, "clock_ahead",
                   "partition=%u ahead_ms=%" PRIi64 " to_node=%u text=\"this node's clock is ahead "
                   "of a quorum's: set it right; leadership is handed over\"",
                   p->id, tm_beat_ahead_ms(p->env->beat, &p->replica, best->id.node),
                   best->id.node);
}

void tm_partition_watch_clock(struct tm_partition *p)
{
    p->clock_ahead = p->leading && is_ahead_of_quorum(p);
    if (p->clock_ahead)
        hand_over(p);
}

void tm_partition_observe(struct tm_partition *p, uint64_t stamp)
{
    struct tm_partition_env *env = p->env;
    uint64_t wall = tm_ctx_wall_ms(env->ctx), skew = env->options->max_clock_skew_ms;
    bool sane = tm_hlc_check(stamp, wall, skew) == TM_OK;
    if (sane || env->policy != NULL)
        tm_hlc_observe(env->hlc, stamp);
    if (sane)
        return;
    tm_hlc_observe(env->hlc, tm_hlc_pack(wall + skew, 0));
    if (may_warn(env))
        tm_ctx_log(env->ctx, TM_LOG_WARN, "stamp_ahead",
                   "partition=%u ahead_ms=%" PRIu64 " text=\"the leader's clock is ahead of this "
                   "node's, or this one's is behind: set them right\"",
                   p->id, tm_hlc_ahead_ms(stamp, wall));
}
