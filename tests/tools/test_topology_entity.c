#include "tests/tools/topology_file.h"

/* The text of a rule that is this expression; the lines before it are the file's. */
static void kept_as(const char *before, const char *expression, const char *text)
{
    char file[2048];
    snprintf(file, sizeof file,
             "defineCluster('a');\n%s\ndefineEntity('T', { fields: { f: { conflict: %s } } });\n",
             before, expression);
    struct tm_topology *t = topology_file_load(file);
    CU_ASSERT_EQUAL(t->entities[0].fields[0].rule.rule, TM_CONFLICT_FUNCTION);
    CU_ASSERT_STRING_EQUAL(t->entities[0].fields[0].rule.function, text);
    tm_topology_free(t);
}

static void function_refused(const char *before, const char *expression, const char *expect)
{
    char file[2048];
    snprintf(file, sizeof file,
             "defineCluster('a');\n%s\ndefineEntity('T', { fields: { f: { conflict: %s } } });\n",
             before, expression);
    refused(file, expect);
}

static void rules_are_of_types_and_of_fields(void)
{
    struct tm_topology *t = topology_file_load(
        "defineCluster('a'); defineCluster('b');\n"
        "defineEntity('Order', { conflict: 'field-lww', fields: { stock: { conflict: 'counter' },\n"
        "  tags: { conflict: 'set' }, owner: { conflict: 'home', home: 'b' } } });\n"
        "defineEntity('Doc', { conflict: 'entity-lww' });\n"
        "defineEntity('Tariff', { conflict: 'home', home: 'a' });\n"
        "defineEntity('Plain');\n");
    CU_ASSERT_EQUAL_FATAL(t->entity_count, 4);
    const struct tm_entity_spec *o = tm_topology_entity(t, "Order");
    CU_ASSERT(o != NULL && o->rule.rule == TM_CONFLICT_FIELD_LWW && o->field_count == 3);
    CU_ASSERT_EQUAL(o->fields[0].rule.rule, TM_CONFLICT_COUNTER);
    CU_ASSERT_EQUAL(o->fields[1].rule.rule, TM_CONFLICT_SET);
    CU_ASSERT(o->fields[2].rule.rule == TM_CONFLICT_HOME &&
              strcmp(o->fields[2].rule.home, "b") == 0);
    CU_ASSERT_EQUAL(tm_topology_entity(t, "Doc")->rule.rule, TM_CONFLICT_ENTITY_LWW);
    CU_ASSERT_STRING_EQUAL(tm_topology_entity(t, "Tariff")->rule.home, "a");
    CU_ASSERT_EQUAL(tm_topology_entity(t, "Plain")->rule.rule, TM_CONFLICT_FIELD_LWW);
    CU_ASSERT_FALSE(tm_topology_entity(t, "Plain")->resident);
    CU_ASSERT_PTR_NULL(tm_topology_entity(t, "Other"));
    tm_topology_free(t);
}

static void a_rule_that_makes_no_sense_is_refused(void)
{
    refused("defineCluster('a');\ndefineEntity('T', {\n conflict: 'dice' });",
            ":3: defineEntity(\"T\"): option \"conflict\": must be \"field-lww\", \"entity-lww\", "
            "\"counter\", \"set\", \"max\", \"min\", \"home\", or function (a, b) { … }, not "
            "\"dice\"");
    refused("defineCluster('a'); defineEntity('T', { conflict: 7 });", "not a number");
    refused("defineCluster('a'); defineEntity('T', { conflict: 'function' });", "not \"function\"");
    refused("defineCluster('a'); defineEntity('T', { fields: { f: { conflict: 'entity-lww' } } });",
            "field \"f\": option \"conflict\": must be");
    refused("defineCluster('a'); defineEntity('T', { conflict: 'entity-lww',"
            " fields: { f: { conflict: 'max' } } });",
            "contradict conflict: \"entity-lww\"");
    refused("defineCluster('a'); defineEntity('T', { conflict: 'home' });",
            "\"home\" needs the cluster that wins");
    refused("defineCluster('a'); defineEntity('T', { home: 'a' });", "is for conflict: \"home\"");
    refused("defineCluster('alpha'); defineEntity('T', { conflict: 'home', home: 'alpa' });",
            "no cluster \"alpa\" is defined in this file; did you mean \"alpha\"?");
    refused("defineCluster('a'); defineEntity('T', { fields: { f: { conflict: 'home', home: 'x' } }"
            " });",
            "defineEntity(\"T\"): field \"f\": option \"home\": no cluster \"x\" is defined");
    refused("defineCluster('a'); defineEntity('T', { fields: { f: 'max' } });",
            "must be an object such as { conflict: \"counter\" }, not a string");
    refused("defineCluster('a'); defineEntity('T', { fields: ['f'] });",
            "must be an object of fields, not an array");
    refused("defineCluster('a'); defineEntity('T', { fields: { '': { conflict: 'max' } } });",
            "is no field's name");
    refused("defineCluster('a'); defineEntity('T', { fields: { f: { rule: 'max' } } });",
            "field \"f\": option \"rule\": unknown option");
    refused("defineCluster('a'); defineEntity('T', { residence: ['eu'] });",
            "unknown option; did you mean \"residency\"?");
    refused("defineCluster('a');\ndefineEntity('T', {});\ndefineEntity('T', {});",
            ":3: defineEntity(\"T\"): this type was defined in line 2 already");
    refused("defineCluster('a'); defineEntity('T', { samples: ['1'] });",
            "are for a rule that is a function");
    refused("defineCluster('a'); for (var i = 0; i < 65; i++) defineEntity('T' + i);",
            "at most 64 types are allowed");
    refused("defineCluster('a'); for (var i = 0; i < 3; i++) { var f = {};"
            " for (var k = 0; k < 90; k++) f['f' + k] = { conflict: 'max' };"
            " defineEntity('T' + i, { fields: f }); }",
            "at most 256 fields of all types are allowed");
}

static void the_text_of_a_function_is_kept(void)
{
    kept_as("", "function (a, b) { return a > b ? a : b; }",
            "function (a, b) { return a > b ? a : b; }");
    kept_as("function later(a, b) { return a > b ? a : b; }", "later",
            "function later(a, b) { return a > b ? a : b; }");
    kept_as("var later = function nm(a, b) {\n  // }\n  return a > b ? a : b;\n};", "later",
            "function nm(a, b) {\n  // }\n  return a > b ? a : b;\n}");
    /* Braces in strings, regular expressions and comments; others on the same line. */
    kept_as(
        "var s = '}function (a, b) {', r = /[/}\"]\\/'/; /* function ( */", // "
        "function (a, b) { var q = \"}\", x = /}/; return a > b ? a : b; }, samples: ['a', 'b']",
        "function (a, b) { var q = \"}\", x = /}/; return a > b ? a : b; }");
    kept_as(
        "var pick = [function (a, b) { return a < b ? a : b; }, function (a, b) { return a > b ? a"
        " : b; }];",
        "pick[1]", "function (a, b) { return a > b ? a : b; }");
    kept_as("var deep = (function () { return { f: function (a, b) { return a > b ? a : b; } };"
            " })();",
            "deep.f", "function (a, b) { return a > b ? a : b; }");
}

static void a_function_without_a_text_is_refused(void)
{
    function_refused("", "Math.max", "a function's text must stand in the file");
    function_refused("var f = function (a, b) { return a > b ? a : b; }.bind(null);", "f",
                     "a function's text must stand in the file");
    function_refused("var f = new Function('a', 'b', 'return a > b ? a : b;');", "f",
                     "a function's text must stand in the file");
    function_refused("", "function (a, b) { /* ' + Array(9000).join('x') + ' */ return a; }",
                     "is not commutative"); /* small enough: judged by what it does */
}

static void a_function_has_to_be_commutative_and_pure(void)
{
    function_refused("", "function (a, b) { return a; }",
                     "field \"f\": option \"conflict\": the function is not commutative: it gives");
    function_refused("", "function (a, b) { return Number(a) > Number(b) ? a : b; }",
                     "is not commutative");
    function_refused("", "function (a, b) { }",
                     "must return a string or a number, and gives undefined");
    function_refused("", "function (a, b) { return 0 / 0; }", "must return a string or a number");
    function_refused("", "function (a, b) { return { a: a }; }",
                     "must return a string or a number");
    function_refused("", "function (a, b) { throw new Error('no'); }",
                     "the function throws for (\"\", \"\"): Error: no");
    function_refused("", "function (a, b) { this.n = (this.n || 0) + 1; return this.n; }",
                     "a rule has to be pure");
    function_refused("", "function (a, b) { return Math.random(); }", "throws for");
    function_refused("", "function (a, b) { return new Date().getTime(); }", "throws for");
    function_refused("var outer = 1;", "function (a, b) { return outer; }",
                     "it may use nothing of the file around it");
    function_refused("", "function (a, b) { while (true) {} }",
                     "the function does not end within 5 s");
    function_refused("", "function (a, b) { var s = a + 'x'; while (true) s += s; }", "throws for");
}

static void a_types_function_is_given_whole_entities(void)
{
    struct tm_topology *t =
        topology_file_load("defineCluster('a');\n"
                           "defineEntity('Doc', { conflict: function (a, b) {\n"
                           "  var out = {}, k;\n"
                           "  for (k in a) out[k] = a[k];\n"
                           "  for (k in b) if (!(k in out) || b[k] > out[k]) out[k] = b[k];\n"
                           "  return out;\n"
                           "} });\n");
    CU_ASSERT_EQUAL(t->entities[0].rule.rule, TM_CONFLICT_FUNCTION);
    tm_topology_free(t);
    /* The tie that is easily forgotten: equal in the field that is looked at. */
    refused("defineCluster('a');\ndefineEntity('Doc', {"
            " conflict: function (a, b) { return Number(a.rev) > Number(b.rev) ? a : b; } });",
            "is not commutative: it gives {");
    refused("defineCluster('a');\ndefineEntity('Doc', {"
            " conflict: function (a, b) { a.seen = '1'; return a.rev > b.rev ? a : b; } });",
            "changes its arguments");
    refused(
        "defineCluster('a');\ndefineEntity('Doc', { conflict: function (a, b) { return 'x'; } });",
        "must return an object of strings and numbers");
    refused("defineCluster('a');\ndefineEntity('Doc', {"
            " conflict: function (a, b) { return { x: [] }; } });",
            "must return an object of strings and numbers");
}

/* What only some values are can be tried with samples of one's own. */
static void samples_of_the_file_take_the_place_of_ours(void)
{
    const char *const parse = "function (a, b) { var x = JSON.parse(a), y = JSON.parse(b);"
                              " return x.n > y.n ? a : y.n > x.n ? b : a < b ? a : b; }";
    char file[1024];
    function_refused("", parse, "throws for");
    snprintf(file, sizeof file,
             "defineCluster('a');\ndefineEntity('T', { fields: { f: { conflict: %s,"
             " samples: ['{\"n\": 1}', '{\"n\": 2}', '{\"n\":1}'] } } });",
             parse);
    struct tm_topology *t = topology_file_load(file);
    CU_ASSERT_STRING_EQUAL(t->entities[0].fields[0].rule.function, parse);
    tm_topology_free(t);
    refused("defineCluster('a'); defineEntity('T', { fields: { f: { samples: 'x',"
            " conflict: function (a, b) { return a > b ? a : b; } } } });",
            "option \"samples\": must be an array of values, not a string");
}

#define EU_AND_US                                                                                  \
    "defineCluster('eu', { region: 'eu-1', replicateTo: ['us'], %s });\n"                          \
    "defineCluster('us', { region: 'us-1' });\n"                                                   \
    "defineEntity('Customer', {\n residency: [%s] });\n"

static void a_jurisdiction_that_no_cluster_has_is_refused(void)
{
    char file[512];
    snprintf(file, sizeof file, EU_AND_US, "", "'eux'");
    refused(file,
            ":4: defineEntity(\"Customer\"): option \"residency\": no cluster has jurisdiction "
            "\"eux\": this file's are \"eu\", \"us\"");
    refused("defineCluster('a'); defineEntity('T', { residency: ['eu'] });",
            "this file's are none (set region or jurisdiction)");
    refused("defineCluster('a'); defineEntity('T', { residency: 'eu' });", "must be an array");
}

static void a_resident_type_named_for_a_forbidden_place_is_refused(void)
{
    char file[512];
    snprintf(file, sizeof file, EU_AND_US, "replicateEntityTypes: ['Customer']", "'eu'");
    refused(file,
            "type Customer may not leave for us: its residency (line 4) does not list \"us\"");
    refused("defineCluster('eu', { region: 'eu-1', replicateTo: ['x'],"
            " replicateEntityTypes: ['T'] }); defineCluster('x');"
            "defineEntity('T', { residency: ['eu'] });",
            "does not list a cluster without a jurisdiction");
    refused("defineCluster('eu', { region: 'eu-1', replicateTo: ['x'],"
            " replicateEntityTypes: ['T'] });"
            "defineEntity('T', { residency: ['eu'] });",
            "does not list a cluster that this file does not define");
    /* Named and excluded: it stays. */
    snprintf(file, sizeof file, EU_AND_US,
             "replicateEntityTypes: ['Customer', 'O'], excludeEntityTypes: ['Customer']", "'eu'");
    tm_topology_free(topology_file_load(file));
    snprintf(file, sizeof file, EU_AND_US, "replicateEntityTypes: ['Customer']", "'eu', 'us'");
    tm_topology_free(topology_file_load(file));
}

static void warned(const char *file, const char *expect)
{
    struct tm_topology *t = topology_file_load(file);
    unsigned n = 0;
    for (unsigned i = 0; i < t->warning_count; i++)
        n += strstr(t->warnings[i], expect) != NULL;
    CU_ASSERT_EQUAL(n, 1);
    tm_topology_free(t);
}

static void a_wildcard_that_would_take_a_resident_type_is_a_warning(void)
{
    char file[512];
    const char *const says =
        "does not take Customer: a type with a residency leaves by its own name";
    snprintf(file, sizeof file, EU_AND_US, "replicateEntityTypes: ['Cust*']", "'eu'");
    warned(file, says);
    snprintf(file, sizeof file, EU_AND_US, "replicateEntityTypes: ['*']", "'eu', 'us'");
    warned(file, says);
    warned("defineCluster('eu', { region: 'eu-1', replicateTo: ['x'] }); defineCluster('x');"
           "defineEntity('T', { residency: ['eu'] });",
           "eu -> x: type T stays: the target has no jurisdiction that is known");
}

static const struct tm_test tests[] = {
    TM_TEST(rules_are_of_types_and_of_fields),
    TM_TEST(a_rule_that_makes_no_sense_is_refused),
    TM_TEST(the_text_of_a_function_is_kept),
    TM_TEST(a_function_without_a_text_is_refused),
    TM_TEST(a_function_has_to_be_commutative_and_pure),
    TM_TEST(a_types_function_is_given_whole_entities),
    TM_TEST(samples_of_the_file_take_the_place_of_ours),
    TM_TEST(a_jurisdiction_that_no_cluster_has_is_refused),
    TM_TEST(a_resident_type_named_for_a_forbidden_place_is_refused),
    TM_TEST(a_wildcard_that_would_take_a_resident_type_is_a_warning),
};
TM_TEST_MAIN("tools/topology_entity", tests)
