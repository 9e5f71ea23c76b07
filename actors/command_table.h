/* command_table.h: every command, once.  X-macro lists; included by actors/command.c and by whoever
 * needs a name per command.
 *
 * X(symbol, name, arity, first_key, last_key, key_step, class, group, summary)
 *   symbol: keyed commands are run by tm_cmd_<symbol> (actors/commands_*.c), local ones by
 *           tm_session_local_<symbol>, steering ones by tm_session_steer_<symbol>;
 *   class:  TM_CLASS_<class> below, a set of tm_command_flags. */
#ifndef TM_ACTORS_COMMAND_TABLE_H
#define TM_ACTORS_COMMAND_TABLE_H

#include "actors/command.h"

enum tm_command_class {
    TM_CLASS_READ = TM_CMD_READONLY,
    TM_CLASS_READ_FAST = TM_CMD_READONLY | TM_CMD_FAST,
    TM_CLASS_READ_SCATTER = TM_CMD_READONLY | TM_CMD_FAST | TM_CMD_SCATTER,
    TM_CLASS_READ_ALL = TM_CMD_READONLY | TM_CMD_BROADCAST,
    TM_CLASS_READ_NUMKEYS = TM_CMD_READONLY | TM_CMD_NUMKEYS,
    TM_CLASS_WRITE = TM_CMD_WRITE, /* frees or keeps memory: allowed when there is none left */
    TM_CLASS_WRITE_FAST = TM_CMD_WRITE | TM_CMD_FAST,
    TM_CLASS_WRITE_SCATTER = TM_CMD_WRITE | TM_CMD_SCATTER,
    TM_CLASS_WRITE_ALL = TM_CMD_WRITE | TM_CMD_BROADCAST,
    TM_CLASS_INTERNAL = TM_CMD_READONLY | TM_CMD_INTERNAL,
    TM_CLASS_STORE = TM_CMD_WRITE | TM_CMD_DENYOOM,
    TM_CLASS_STORE_FAST = TM_CMD_WRITE | TM_CMD_DENYOOM | TM_CMD_FAST,
    TM_CLASS_STORE_SCATTER = TM_CMD_WRITE | TM_CMD_DENYOOM | TM_CMD_SCATTER,
    TM_CLASS_SYSTEM = TM_CMD_WRITE | TM_CMD_ADMIN | TM_CMD_NOMULTI | TM_CMD_SYSTEM,
    TM_CLASS_LOCAL = TM_CMD_LOCAL,
    TM_CLASS_LOCAL_FAST = TM_CMD_LOCAL | TM_CMD_FAST,
    TM_CLASS_LOCAL_ADMIN = TM_CMD_LOCAL | TM_CMD_ADMIN,
    TM_CLASS_LOCAL_ADMIN_NOMULTI = TM_CMD_LOCAL | TM_CMD_ADMIN | TM_CMD_NOMULTI,
    TM_CLASS_LOCAL_NOAUTH = TM_CMD_LOCAL | TM_CMD_FAST | TM_CMD_NOAUTH,
    TM_CLASS_STEER = TM_CMD_LOCAL | TM_CMD_FAST,
    TM_CLASS_STEER_NOAUTH = TM_CMD_LOCAL | TM_CMD_FAST | TM_CMD_NOAUTH,
    TM_CLASS_STEER_SLOW = TM_CMD_LOCAL
};

#define TM_COMMAND_LOCAL_LIST(X)                                                                   \
    X(ping, "PING", -1, 0, 0, 0, LOCAL_FAST, "connection", "Answers PONG, or the given word")      \
    X(echo, "ECHO", 2, 0, 0, 0, LOCAL_FAST, "connection", "Answers the given word")                \
    X(hello, "HELLO", -1, 0, 0, 0, LOCAL_NOAUTH, "connection", "Chooses RESP2 or RESP3")           \
    X(auth, "AUTH", -2, 0, 0, 0, LOCAL_NOAUTH, "connection", "Authenticates the connection")       \
    X(select, "SELECT", 2, 0, 0, 0, LOCAL_FAST, "connection", "Chooses database 0, the only one")  \
    X(client, "CLIENT", -2, 0, 0, 0, LOCAL, "connection", "Names, lists and closes connections")   \
    X(command, "COMMAND", -1, 0, 0, 0, LOCAL, "server", "Describes the commands")                  \
    X(config, "CONFIG", -2, 0, 0, 0, LOCAL_ADMIN, "server", "Shows and changes options")           \
    X(info, "INFO", -1, 0, 0, 0, LOCAL, "server", "Tells how the node is")                         \
    X(cluster, "CLUSTER", -2, 0, 0, 0, LOCAL, "cluster", "Tells who leads which slots")            \
    X(readonly, "READONLY", 1, 0, 0, 0, LOCAL_FAST, "cluster", "Accepted; changes nothing")        \
    X(readwrite, "READWRITE", 1, 0, 0, 0, LOCAL_FAST, "cluster", "Accepted; changes nothing")      \
    X(asking, "ASKING", 1, 0, 0, 0, LOCAL_FAST, "cluster", "Accepted; changes nothing")            \
    X(role, "ROLE", 1, 0, 0, 0, LOCAL_FAST, "server", "Always master: see TIDEMILL PARTITIONS")    \
    X(time, "TIME", 1, 0, 0, 0, LOCAL_FAST, "server", "Tells the node's wall clock")               \
    X(slowlog, "SLOWLOG", -2, 0, 0, 0, LOCAL_ADMIN, "server", "Always empty; see INFO")            \
    X(latency, "LATENCY", -2, 0, 0, 0, LOCAL_ADMIN, "server", "Always empty; see INFO")            \
    X(tidemill, "TIDEMILL", -2, 0, 0, 0, LOCAL_ADMIN, "server", "Shows this worker's replicas")    \
    X(shutdown, "SHUTDOWN", -1, 0, 0, 0, LOCAL_ADMIN_NOMULTI, "server", "Stops the node cleanly")

#define TM_COMMAND_STEER_LIST(X)                                                                   \
    X(multi, "MULTI", 1, 0, 0, 0, STEER, "transactions", "Begins a transaction")                   \
    X(exec, "EXEC", 1, 0, 0, 0, STEER, "transactions", "Executes the queued commands")             \
    X(discard, "DISCARD", 1, 0, 0, 0, STEER, "transactions", "Drops the queued commands")          \
    X(watch, "WATCH", -2, 1, -1, 1, STEER, "transactions", "Lets EXEC fail if a key changes")      \
    X(unwatch, "UNWATCH", 1, 0, 0, 0, STEER, "transactions", "Forgets the watched keys")           \
    X(wait, "WAIT", 3, 0, 0, 0, STEER_SLOW, "generic", "Waits for durable copies of writes")       \
    X(waitaof, "WAITAOF", 4, 0, 0, 0, STEER_SLOW, "generic", "Waits for durable copies")           \
    X(reset, "RESET", 1, 0, 0, 0, STEER_NOAUTH, "connection", "Makes the connection as new")       \
    X(quit, "QUIT", -1, 0, 0, 0, STEER_NOAUTH, "connection", "Closes after what is under way")

#define TM_COMMAND_STRING_LIST(X)                                                                  \
    X(get, "GET", 2, 1, 1, 1, READ_FAST, "string", "Returns a string")                             \
    X(set, "SET", -3, 1, 1, 1, STORE, "string",                                                    \
      "Sets a string; NX XX GET EX PX EXAT PXAT KEEPTTL")                                          \
    X(setnx, "SETNX", 3, 1, 1, 1, STORE_FAST, "string", "Sets a string if the key is new")         \
    X(setex, "SETEX", 4, 1, 1, 1, STORE, "string", "Sets a string and its life in seconds")        \
    X(psetex, "PSETEX", 4, 1, 1, 1, STORE, "string", "Sets a string and its life in ms")           \
    X(getset, "GETSET", 3, 1, 1, 1, STORE_FAST, "string", "Sets a string, returns the former")     \
    X(getdel, "GETDEL", 2, 1, 1, 1, WRITE_FAST, "string", "Returns a string and deletes it")       \
    X(getex, "GETEX", -2, 1, 1, 1, WRITE_FAST, "string", "Returns a string, sets its expiry")      \
    X(append, "APPEND", 3, 1, 1, 1, STORE_FAST, "string", "Appends to a string")                   \
    X(strlen, "STRLEN", 2, 1, 1, 1, READ_FAST, "string", "Returns a string's length")              \
    X(getrange, "GETRANGE", 4, 1, 1, 1, READ, "string", "Returns a part of a string")              \
    X(substr, "SUBSTR", 4, 1, 1, 1, READ, "string", "Returns a part of a string")                  \
    X(setrange, "SETRANGE", 4, 1, 1, 1, STORE, "string", "Overwrites a part of a string")          \
    X(incr, "INCR", 2, 1, 1, 1, STORE_FAST, "string", "Adds one")                                  \
    X(decr, "DECR", 2, 1, 1, 1, STORE_FAST, "string", "Subtracts one")                             \
    X(incrby, "INCRBY", 3, 1, 1, 1, STORE_FAST, "string", "Adds an integer")                       \
    X(decrby, "DECRBY", 3, 1, 1, 1, STORE_FAST, "string", "Subtracts an integer")                  \
    X(incrbyfloat, "INCRBYFLOAT", 3, 1, 1, 1, STORE_FAST, "string", "Adds a floating number")      \
    X(mget, "MGET", -2, 1, -1, 1, READ_SCATTER, "string", "Returns several strings")               \
    X(mset, "MSET", -3, 1, -1, 2, STORE_SCATTER, "string", "Sets several; atomic per partition")   \
    X(msetnx, "MSETNX", -3, 1, -1, 2, STORE, "string", "Sets several of one slot if all are new")

#define TM_COMMAND_HASH_LIST(X)                                                                    \
    X(hset, "HSET", -4, 1, 1, 1, STORE_FAST, "hash", "Sets fields")                                \
    X(hsetnx, "HSETNX", 4, 1, 1, 1, STORE_FAST, "hash", "Sets a field if it is new")               \
    X(hmset, "HMSET", -4, 1, 1, 1, STORE_FAST, "hash", "Sets fields")                              \
    X(hget, "HGET", 3, 1, 1, 1, READ_FAST, "hash", "Returns a field")                              \
    X(hmget, "HMGET", -3, 1, 1, 1, READ_FAST, "hash", "Returns several fields")                    \
    X(hgetall, "HGETALL", 2, 1, 1, 1, READ, "hash", "Returns all fields and values")               \
    X(hdel, "HDEL", -3, 1, 1, 1, WRITE_FAST, "hash", "Deletes fields")                             \
    X(hexists, "HEXISTS", 3, 1, 1, 1, READ_FAST, "hash", "Tells whether a field is there")         \
    X(hlen, "HLEN", 2, 1, 1, 1, READ_FAST, "hash", "Returns the number of fields")                 \
    X(hstrlen, "HSTRLEN", 3, 1, 1, 1, READ_FAST, "hash", "Returns the length of a field")          \
    X(hkeys, "HKEYS", 2, 1, 1, 1, READ, "hash", "Returns all fields")                              \
    X(hvals, "HVALS", 2, 1, 1, 1, READ, "hash", "Returns all values")                              \
    X(hincrby, "HINCRBY", 4, 1, 1, 1, STORE_FAST, "hash", "Adds an integer to a field")            \
    X(hincrbyfloat, "HINCRBYFLOAT", 4, 1, 1, 1, STORE_FAST, "hash", "Adds a floating number")      \
    X(hrandfield, "HRANDFIELD", -2, 1, 1, 1, READ, "hash", "Returns fields by chance")             \
    X(hscan, "HSCAN", -3, 1, 1, 1, READ, "hash", "Walks the fields")

#define TM_COMMAND_SET_LIST(X)                                                                     \
    X(sadd, "SADD", -3, 1, 1, 1, STORE_FAST, "set", "Adds members")                                \
    X(srem, "SREM", -3, 1, 1, 1, WRITE_FAST, "set", "Removes members")                             \
    X(sismember, "SISMEMBER", 3, 1, 1, 1, READ_FAST, "set", "Tells whether a member is there")     \
    X(smismember, "SMISMEMBER", -3, 1, 1, 1, READ_FAST, "set", "Tells it of several")              \
    X(smembers, "SMEMBERS", 2, 1, 1, 1, READ, "set", "Returns all members")                        \
    X(scard, "SCARD", 2, 1, 1, 1, READ_FAST, "set", "Returns the number of members")               \
    X(spop, "SPOP", -2, 1, 1, 1, WRITE_FAST, "set", "Removes members by chance")                   \
    X(srandmember, "SRANDMEMBER", -2, 1, 1, 1, READ, "set", "Returns members by chance")           \
    X(smove, "SMOVE", 4, 1, 2, 1, STORE_FAST, "set", "Moves a member to another set")              \
    X(sinter, "SINTER", -2, 1, -1, 1, READ, "set", "Intersects sets")                              \
    X(sintercard, "SINTERCARD", -3, 2, 2, 1, READ_NUMKEYS, "set", "Counts an intersection")        \
    X(sunion, "SUNION", -2, 1, -1, 1, READ, "set", "Unites sets")                                  \
    X(sdiff, "SDIFF", -2, 1, -1, 1, READ, "set", "Subtracts sets")                                 \
    X(sinterstore, "SINTERSTORE", -3, 1, -1, 1, STORE, "set", "Stores an intersection")            \
    X(sunionstore, "SUNIONSTORE", -3, 1, -1, 1, STORE, "set", "Stores a union")                    \
    X(sdiffstore, "SDIFFSTORE", -3, 1, -1, 1, STORE, "set", "Stores a difference")                 \
    X(sscan, "SSCAN", -3, 1, 1, 1, READ, "set", "Walks the members")

#define TM_COMMAND_GENERIC_LIST(X)                                                                 \
    X(del, "DEL", -2, 1, -1, 1, WRITE_SCATTER, "generic", "Deletes keys")                          \
    X(unlink, "UNLINK", -2, 1, -1, 1, WRITE_SCATTER, "generic", "Deletes keys")                    \
    X(exists, "EXISTS", -2, 1, -1, 1, READ_SCATTER, "generic", "Counts the keys that are there")   \
    X(touch, "TOUCH", -2, 1, -1, 1, READ_SCATTER, "generic", "Counts the keys that are there")     \
    X(type, "TYPE", 2, 1, 1, 1, READ_FAST, "generic", "Returns the kind of value")                 \
    X(rename, "RENAME", 3, 1, 2, 1, WRITE, "generic", "Renames a key within its slot")             \
    X(renamenx, "RENAMENX", 3, 1, 2, 1, WRITE_FAST, "generic", "Renames if the name is free")      \
    X(copy, "COPY", -3, 1, 2, 1, STORE, "generic", "Copies a key within its slot")                 \
    X(expire, "EXPIRE", -3, 1, 1, 1, WRITE_FAST, "generic", "Sets the life in seconds")            \
    X(pexpire, "PEXPIRE", -3, 1, 1, 1, WRITE_FAST, "generic", "Sets the life in milliseconds")     \
    X(expireat, "EXPIREAT", -3, 1, 1, 1, WRITE_FAST, "generic", "Sets the end in seconds")         \
    X(pexpireat, "PEXPIREAT", -3, 1, 1, 1, WRITE_FAST, "generic", "Sets the end in ms")            \
    X(ttl, "TTL", 2, 1, 1, 1, READ_FAST, "generic", "Returns the life left in seconds")            \
    X(pttl, "PTTL", 2, 1, 1, 1, READ_FAST, "generic", "Returns the life left in ms")               \
    X(expiretime, "EXPIRETIME", 2, 1, 1, 1, READ_FAST, "generic", "Returns the end in seconds")    \
    X(pexpiretime, "PEXPIRETIME", 2, 1, 1, 1, READ_FAST, "generic", "Returns the end in ms")       \
    X(persist, "PERSIST", 2, 1, 1, 1, WRITE_FAST, "generic", "Takes the expiry away")              \
    X(object, "OBJECT", -2, 2, 2, 1, READ, "generic", "Returns how a key is stored")               \
    X(scan, "SCAN", -2, 0, 0, 0, READ_ALL, "generic", "Walks the keys")                            \
    X(keys, "KEYS", 2, 0, 0, 0, READ_ALL, "generic", "Returns the keys that match")                \
    X(randomkey, "RANDOMKEY", 1, 0, 0, 0, READ_ALL, "generic", "Returns a key by chance")          \
    X(dbsize, "DBSIZE", 1, 0, 0, 0, READ_ALL, "server", "Returns the number of keys")              \
    X(flushall, "FLUSHALL", -1, 0, 0, 0, WRITE_ALL, "server", "Deletes all keys")                  \
    X(flushdb, "FLUSHDB", -1, 0, 0, 0, WRITE_ALL, "server", "Deletes all keys")

#define TM_COMMAND_INTERNAL_LIST(X)                                                                \
    X(slot_keys, "CLUSTER|SLOT", 3, 0, 0, 0, INTERNAL, "cluster", "For CLUSTER GETKEYSINSLOT")

#define TM_COMMAND_SYSTEM_LIST(X)                                                                  \
    X(tidemill_change, "TIDEMILL.CHANGE", 2, 0, 0, 0, SYSTEM, "server",                            \
      "Puts the next version of the cluster's directory")

#define TM_COMMAND_KEYED_LIST(X)                                                                   \
    TM_COMMAND_SYSTEM_LIST(X)                                                                      \
    TM_COMMAND_STRING_LIST(X)                                                                      \
    TM_COMMAND_HASH_LIST(X)                                                                        \
    TM_COMMAND_SET_LIST(X)                                                                         \
    TM_COMMAND_GENERIC_LIST(X)

#define X(symbol, ...)                                                                             \
    void tm_cmd_##symbol(struct tm_exec *x, const struct tm_bytes *argv, unsigned argc);
TM_COMMAND_KEYED_LIST(X)
TM_COMMAND_INTERNAL_LIST(X)
#undef X
#define X(symbol, ...)                                                                             \
    void tm_session_local_##symbol(struct tm_session *s, struct tm_resp_writer *w,                 \
                                   const struct tm_bytes *argv, unsigned argc);
TM_COMMAND_LOCAL_LIST(X)
#undef X
#define X(symbol, ...)                                                                             \
    enum tm_step tm_session_steer_##symbol(struct tm_session *s, const struct tm_bytes *argv,      \
                                           unsigned argc);
TM_COMMAND_STEER_LIST(X)
#undef X

#endif
