/* Duktape keeps no source of a function.  But the same text at the same line of the same file
 * compiles to the same code: so each `function` of the source whose braces close is compiled by
 * itself, and the one whose code is that of the function given is its text.
 *
 * The check is a script of ours around the text, evaluated like a topology file; what it found is
 * what it "defines".  A file cannot be trusted to mean well with its own cluster, but it can err: a
 * rule that looks at the order of its arguments keeps clusters apart forever. */
#include "tools/topology_function.h"
#include "tools/topology_eval.h"

#include "actors/link_plan.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- text ---- */

struct finder {
    const char *source;
    size_t len;
};

static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '$';
}

/* Behind what is quoted by the sign at s, or the end of the line. */
static const char *skip_quoted(const char *s, const char *end)
{
    char sign = *s++;
    bool class = false;
    for (; s < end && *s != '\n'; s++) {
        if (*s == '\\')
            s++;
        else if (sign == '/' && (*s == '[' || *s == ']'))
            class = *s == '[';
        else if (*s == sign && !class)
            return s + 1;
    }
    return s < end ? s : end;
}

/* Behind the token at s: a comment, a string, a regular expression, or one character.  *before: the
 * last character that was none of a comment or a space; it says whether a '/' divides. */
static const char *skip_token(const char *s, const char *end, char *before)
{
    if (end - s >= 2 && s[0] == '/' && s[1] == '/') {
        const char *line = memchr(s, '\n', (size_t)(end - s));
        return line != NULL ? line : end;
    }
    if (end - s >= 4 && s[0] == '/' && s[1] == '*') {
        const char *close = s + 2;
        while (close + 1 < end && (close[0] != '*' || close[1] != '/'))
            close++;
        return close + 1 < end ? close + 2 : end;
    }
    bool divides = is_word(*before) || *before == ')' || *before == ']' || *before == '}';
    bool quoted = *s == '"' || *s == '\'' || (*s == '/' && !divides);
    if (*s != ' ' && *s != '\t' && *s != '\n' && *s != '\r')
        *before = quoted ? '"' : *s;
    return quoted ? skip_quoted(s, end) : s + 1;
}

/* Behind the brace that closes the first one after s; NULL: none does. */
static const char *skip_body(const char *s, const char *end)
{
    unsigned depth = 0;
    char before = 0;
    while (s < end) {
        const char *next = skip_token(s, end, &before);
        if (*s == '{')
            depth++;
        else if (*s == '}' && depth > 0 && --depth == 0)
            return next;
        s = next;
    }
    return NULL;
}

/* The name between `function` and its arguments; its length, 0: it has none. */
static int name_at(const char *text, const char **name)
{
    const char *s = text + strlen("function");
    int len = 0;
    s += strspn(s, " \t\r\n");
    *name = s;
    while (is_word(s[len]))
        len++;
    return len;
}

/* [ … fn ] -> [ … fn equal ]: compiles the program and compares what it gives with fn. */
static bool compiles_to(duk_context *ctx, const char *program, size_t len)
{
    bool equal = false;
    duk_size_t mine = 0, its = 0;
    duk_push_string(ctx, "topology");
    if (duk_pcompile_lstring_filename(ctx, DUK_COMPILE_EVAL, program, len) == 0 &&
        duk_pcall(ctx, 0) == DUK_EXEC_SUCCESS && duk_is_ecmascript_function(ctx, -1)) {
        duk_dump_function(ctx);
        duk_dup(ctx, -2);
        duk_dump_function(ctx);
        const void *a = duk_get_buffer_data(ctx, -1, &mine);
        const void *b = duk_get_buffer_data(ctx, -2, &its);
        equal = mine == its && memcmp(a, b, mine) == 0;
        duk_pop(ctx);
    }
    duk_pop(ctx);
    return equal;
}

/* Whether fn is made of [text, text + len), which stands behind so many line ends.  A declaration
 * binds its name otherwise than an expression does, so both are tried. */
static bool is_text(duk_context *ctx, const char *text, size_t len, unsigned lines)
{
    const char *name;
    int name_len = name_at(text, &name);
    size_t size = lines + len + (size_t)name_len + 64;
    char *program = duk_alloc(ctx, size);
    if (program == NULL)
        return false;
    memset(program, '\n', lines);
    int n = snprintf(program + lines, size - lines, "(%.*s)", (int)len, text);
    bool equal = compiles_to(ctx, program, lines + (size_t)n);
    if (!equal && name_len > 0) {
        memcpy(program, "(function () {", 14);
        memset(program + 14, '\n', lines);
        n = snprintf(program + 14 + lines, size - 14 - lines, "%.*s;return %.*s;})()", (int)len,
                     text, name_len, name);
        equal = compiles_to(ctx, program, 14 + lines + (size_t)n);
    }
    duk_free(ctx, program);
    return equal;
}

static duk_ret_t find_text(duk_context *ctx, void *udata)
{
    const struct finder *f = udata;
    const char *s = f->source, *end = s + f->len;
    unsigned lines = 0;
    char before = 0;
    while (s < end) {
        char last = before;
        const char *next = skip_token(s, end, &before);
        const char *body_end = NULL;
        if (end - s > 8 && memcmp(s, "function", 8) == 0 && !is_word(s[8]) &&
            (s == f->source || (!is_word(s[-1]) && last != '.')))
            body_end = skip_body(s, end);
        if (body_end != NULL && body_end - s <= TM_LINK_FUNCTION_MAX &&
            is_text(ctx, s, (size_t)(body_end - s), lines)) {
            duk_push_lstring(ctx, s, (duk_size_t)(body_end - s));
            return 1;
        }
        for (; s < next; s++)
            lines += *s == '\n';
    }
    duk_push_undefined(ctx);
    return 1;
}

void tm_function_push_text(duk_context *ctx, const char *source, size_t len)
{
    struct finder f = {.source = source, .len = len};
    if (!duk_is_ecmascript_function(ctx, -1) ||
        duk_safe_call(ctx, find_text, &f, 1, 1) != DUK_EXEC_SUCCESS) {
        duk_pop(ctx);
        duk_push_undefined(ctx);
    }
}

/* ---- check ---- */

static const char harness[] =
    "var text = ['', '0', '1', '2', '10', '-3', '2.5', 'a', 'b', 'B', 'some value',\n"
    "            '2026-01-31T00:00:00Z'];\n"
    "function show(v) { return JSON.stringify(v); }\n"
    "function canonical(r) {\n"
    "  if (typeof r === 'string') return r;\n"
    "  if (typeof r === 'number' && isFinite(r)) return String(r);\n"
    "  throw new Error('NONE');\n"
    "}\n"
    "function whole(r) {\n"
    "  if (r === null || typeof r !== 'object' || Array.isArray(r)) throw new Error('NONE');\n"
    "  var out = {};\n"
    "  Object.keys(r).sort().forEach(function (k) { out[k] = canonical(r[k]); });\n"
    "  return show(out);\n"
    "}\n"
    /* The fields that the rule itself looks at. */
    "function reads(f, names) {\n"
    "  text.forEach(function (t) {\n"
    "    var spy = new Proxy({}, { get: function (o, k) {\n"
    "      if (typeof k === 'string' && k !== 'toJSON' && k !== 'hasOwnProperty' &&\n"
    "          names.indexOf(k) < 0 && names.length < 8) names.push(k);\n"
    "      return t;\n"
    "    } });\n"
    "    try { f(spy, spy); } catch (e) { }\n"
    "  });\n"
    "}\n"
    "function objects(f, names) {\n"
    "  reads(f, names);\n"
    "  if (names.length === 0) names.push('a', 'b');\n"
    "  var all = [{}];\n"
    "  for (var i = 0; i < text.length; i++) {\n"
    "    var o = {};\n"
    "    names.forEach(function (n, j) { o[n] = text[(i * (j + 1) + j) % text.length]; });\n"
    "    all.push(o);\n"
    "  }\n"
    "  names.forEach(function (n) {\n"
    "    ['1', 'z'].forEach(function (v) {\n"
    "      var c = JSON.parse(show(all[2]));\n"
    "      c[n] = v;\n"
    "      all.push(c);\n"
    "    });\n"
    "  });\n"
    "  var other = JSON.parse(show(all[2]));\n"
    "  other.another = 'x';\n"
    "  all.push(other);\n"
    "  return all;\n"
    "}\n"
    "function judge(f, names, own) {\n"
    "  var samples = own || (names ? objects(f, names) : text), to = names ? whole : canonical;\n"
    "  function call(a, b) {\n"
    "    var x = JSON.parse(show(a)), y = JSON.parse(show(b)), r;\n"
    "    try { r = f(x, y); } catch (e) {\n"
    "      throw 'throws for (' + show(a) + ', ' + show(b) + '): ' + e +\n"
    "        (e instanceof ReferenceError ? ': it may use nothing of the file around it' : '');\n"
    "    }\n"
    "    if (show(x) !== show(a) || show(y) !== show(b))\n"
    "      throw 'changes its arguments, for (' + show(a) + ', ' + show(b) + ')';\n"
    "    try { return to(r); } catch (e) {\n"
    "      throw 'must return ' + (names ? 'an object of strings and numbers'\n"
    "        : 'a string or a number') + ', and gives ' + (r === undefined ? 'undefined' : "
    "show(r)) +\n"
    "        ' for (' + show(a) + ', ' + show(b) + ')';\n"
    "    }\n"
    "  }\n"
    "  samples.forEach(function (a) { samples.forEach(function (b) {\n"
    "    var r = call(a, b), again = call(a, b), other = call(b, a);\n"
    "    if (r !== again) throw 'gives ' + r + ' and then ' + again + ' for (' + show(a) + ', ' +\n"
    "      show(b) + '): a rule has to be pure';\n"
    "    if (r !== other) throw 'is not commutative: it gives ' + r + ' for (' + show(a) + ', ' +\n"
    "      show(b) + ') and ' + other + ' the other way round';\n"
    "  }); });\n"
    "}\n"
    "function tried(f, names, own) {\n"
    "  try { judge(f, names, own); return ''; } catch (e) { return String(e); }\n"
    "}\n";

/* What the script found, in its answer; NULL: it is no answer. */
static const char *found(const json_t *calls)
{
    const json_t *options = json_object_get(json_array_get(calls, 0), "options");
    return json_string_value(json_object_get(options, "found"));
}

enum tm_err tm_function_check(const char *path, const char *text, const json_t *fields,
                              const json_t *samples, char *why, size_t why_size)
{
    json_t *none = json_null();
    char *names = json_dumps(fields != NULL ? fields : none, JSON_ENCODE_ANY | JSON_ENSURE_ASCII);
    char *own = json_dumps(samples != NULL ? samples : none, JSON_ENCODE_ANY | JSON_ENSURE_ASCII);
    TM_ASSERT(names != NULL && own != NULL);
    size_t size = sizeof harness + strlen(text) + strlen(names) + strlen(own) + 128;
    char *script = malloc(size), *json = NULL;
    TM_ASSERT(script != NULL);
    int len = snprintf(script, size, "%sdefineCluster('rule', { found: tried((%s\n), %s, %s) });\n",
                       harness, text, names, own);
    enum tm_err e = tm_topology_eval(path, script, (size_t)len, &json, why, why_size);
    if (e == TM_ERR_TIMEOUT)
        snprintf(why, why_size, "the function does not end within %d s", TM_EVAL_SECONDS);
    if (e == TM_OK) {
        json_t *calls = json_loads(json, 0, NULL);
        const char *problem = found(calls);
        if (problem == NULL || problem[0] != '\0') {
            snprintf(why, why_size, "the function %s",
                     problem != NULL ? problem : "gives no answer");
            e = TM_ERR_INVALID;
        }
        json_decref(calls);
    }
    free(json);
    free(script);
    free(own);
    free(names);
    return e;
}
