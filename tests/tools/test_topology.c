#include "tests/tools/topology_file.h"

static char err[1024];

static void options_and_defaults_are_taken(void)
{
    struct tm_topology *t;
    CU_ASSERT_EQUAL_FATAL(
        topology_file_try(
            "const n = [\"a\", \"b\", \"c\",];\n"
            "function region(x) { return \"us-\" + x; }\n"
            "// a comment\n"
            "defineCluster(\"one\", { nodes: n, replicationFactor: 2, region: "
            "region(\"east-1\"), consistency: \"eventual\", });\n"
            "defineCluster(\"two\", {});\n"
            "defineCluster(\"three\");\n"
            "defineNode(\"b\", { address: \"10.0.0.2\", workers: 4, fabric: \"tcp\" });\n",
            &t, err, sizeof err),
        TM_OK);
    CU_ASSERT_EQUAL(t->cluster_count, 3);
    const struct tm_cluster_spec *c = tm_topology_cluster(t, "one");
    CU_ASSERT_PTR_NOT_NULL_FATAL(c);
    CU_ASSERT_EQUAL(c->nodes.count, 3);
    CU_ASSERT_EQUAL(c->replication_factor, 2);
    CU_ASSERT_EQUAL(c->partitions, 256);
    CU_ASSERT(c->eventual);
    CU_ASSERT_STRING_EQUAL(c->region, "us-east-1");
    CU_ASSERT_EQUAL(tm_cluster_node_index(c, "c"), 2);
    CU_ASSERT_EQUAL(tm_cluster_node_index(c, "d"), -1);
    c = tm_topology_cluster(t, "two");
    CU_ASSERT_STRING_EQUAL(c->nodes.names[0], "two-1");
    CU_ASSERT_EQUAL(c->replication_factor, 1);
    const struct tm_node_spec *n = tm_topology_node(t, "one", "b");
    CU_ASSERT_PTR_NOT_NULL_FATAL(n);
    CU_ASSERT_EQUAL(n->workers, 4);
    CU_ASSERT_STRING_EQUAL(n->fabric, "tcp");
    tm_topology_free(t);
}

static void an_unknown_option_names_line_and_neighbour(void)
{
    refused("defineCluster(\"a\", {\n  nodes: [\"x\"],\n  replicatonFactor: 1\n});\n",
            ":3: defineCluster(\"a\"): option \"replicatonFactor\": unknown option; did you mean "
            "\"replicationFactor\"?");
    refused("defineCluster(\"a\", { zzzzzzzz: 1 });", "unknown option");
}

static void a_file_that_changes_what_is_told_of_it_is_refused(void)
{
    refused("Array.prototype.toJSON = function () { return [1]; };\ndefineCluster(\"a\");\n",
            "toJSON");
    refused("Object.prototype.toJSON = function () { return {fn: \"defineCluster\"}; };\n"
            "defineCluster(\"a\");\n",
            "defines no cluster");
    refused("Array.prototype.toJSON = function () { return undefined; };\ndefineCluster(\"a\");\n",
            "cannot be read");
}

static void wrong_types_and_ranges_are_named(void)
{
    refused("defineCluster(\"a\", { nodes: \"x\" });", "must be an array of names, not a string");
    refused("defineCluster(\"a\", { nodes: [\"x\", 7] });", "entry 2 must be a name, not a number");
    refused("defineCluster(\"a\", { nodes: [\"x\", \"x\"] });", "\"x\" is listed twice");
    refused("defineCluster(\"a\", { nodes: [\"../x\"] });", "is no valid name");
    refused("defineCluster(\"a\", { partitions: 1.5 });", "a whole number from 1 to 4096");
    refused("defineCluster(\"a\", { partitions: 0 });", "0 is out of range");
    refused("defineCluster(\"a\", { partitions: function () {} });", "not function");
    refused("defineCluster(\"a\", { partitions: undefined });", "not undefined");
    refused("defineCluster(\"a\", { partitions: 0 / 0 });", "not NaN");
    refused("defineCluster(\"a\", { consistency: \"weak\" });",
            "must be \"strong\" or \"eventual\", not \"weak\"");
    refused("defineCluster(\"a\", { nodes: [\"x\", \"y\"], replicationFactor: 3 });",
            "3 copies need 3 nodes");
    refused("defineCluster(\"a\");\ndefineNode(\"a-1\", { address: \"host\" });",
            ":2: defineNode(\"a-1\"): option \"address\": \"host\" is no IPv4 address");
}

static void contradictions_across_calls_are_refused(void)
{
    refused("defineCluster(\"a\");\ndefineCluster(\"a\");\n",
            ":2: defineCluster(\"a\"): this name was defined in line 1 already");
    refused("defineCluster(\"a\", { replicateTo: [\"a\"] });", "cannot replicate to itself");
    refused("defineCluster(\"a\", { replicateTo: [\"b\"], replicationMode: \"sync\", consistency: "
            "\"eventual\" });",
            "contradicts");
    refused("var x = 1;\n", "defines no cluster");
}

static void whatever_a_script_throws_is_told_in_one_line(void)
{
    refused("throw undefined;", "undefined");
    refused("throw 'a\\n\\nb';", ": a  b");
    refused("var x;\nthrow new Error('a\\nb');", ":2: Error: a b");
    refused("throw { toString: function () { throw 1; } };", ": 1");
    refused("defineCluster(\"a\\u001b\\nb\");", "defineCluster(\"a  b\")");
    refused("var o = {};\no.o = o;\ndefineCluster(\"a\", o);\n", ":3: TypeError: cyclic input");
    refused("var a = [];\na.push(a);\ndefineNode(\"a\", { address: a });\n",
            ":3: TypeError: cyclic");
}

static void script_errors_carry_their_line(void)
{
    refused("\n\nlet x = 1;\n", ":3: SyntaxError");
    refused("defineCluster(\"a\");\nnope();\n", ":2: ReferenceError");
    refused("\ndefineCluster(7);\n", ":2: TypeError: defineCluster: the first argument");
    refused("defineCluster(\"a\", []);\n", "must be an object of options");
    refused("throw 5;", "5");
}

static void the_script_is_bounded(void)
{
    struct tm_topology *t;
    refused("var s = \"x\"; while (true) s += s;", "alloc");
    refused("function f() { return f() + 1; } f();", "RangeError");
    CU_ASSERT_EQUAL(topology_file_try("while (true) {}", &t, err, sizeof err), TM_ERR_TIMEOUT);
    CU_ASSERT_PTR_NOT_NULL(strstr(err, "loop without end"));
    refused("Math.random();", "TypeError");
    refused("new Date();", "TypeError");
}

static void undefined_targets_are_warnings(void)
{
    struct tm_topology *t;
    CU_ASSERT_EQUAL_FATAL(
        topology_file_try("defineCluster(\"a\", { replicateTo: [\"b\"] });", &t, err, sizeof err),
        TM_OK);
    CU_ASSERT_EQUAL_FATAL(t->warning_count, 1);
    CU_ASSERT_PTR_NOT_NULL(strstr(t->warnings[0], "UNRESOLVED"));
    tm_topology_free(t);
}

static void a_missing_file_is_said(void)
{
    struct tm_topology *t;
    CU_ASSERT_EQUAL(tm_topology_load("/nonexistent/x.js", &t, err, sizeof err), TM_ERR_NOTFOUND);
    CU_ASSERT_PTR_NOT_NULL(strstr(err, "cannot read the topology file"));
}

static void a_file_that_is_no_text_is_said_to_be_none(void)
{
    struct tm_topology *t;
    static const char program[] = "\x7f"
                                  "ELF\x02\x01\x01\0\0\0\0";
    FILE *file = fopen(topology_file_path(), "w");
    CU_ASSERT_FATAL(file != NULL && fwrite(program, sizeof program, 1, file) == 1);
    CU_ASSERT_FATAL(fclose(file) == 0);
    CU_ASSERT_EQUAL(tm_topology_load(topology_file_path(), &t, err, sizeof err), TM_ERR_INVALID);
    CU_ASSERT_PTR_NOT_NULL(strstr(err, "is no text: a topology file is JavaScript"));
    refused("\x1f\x8b\x08\xff\xfe", "is no text in UTF-8: a topology file is JavaScript");
    refused("// caf\xe9\ndefineCluster(\"a\");\n", "is no text in UTF-8");
    refused("throw new Error(\"source decode failed\");", ":1: Error: source decode failed");
}

static const struct tm_test tests[] = {
    TM_TEST(options_and_defaults_are_taken),
    TM_TEST(an_unknown_option_names_line_and_neighbour),
    TM_TEST(a_file_that_changes_what_is_told_of_it_is_refused),
    TM_TEST(wrong_types_and_ranges_are_named),
    TM_TEST(contradictions_across_calls_are_refused),
    TM_TEST(whatever_a_script_throws_is_told_in_one_line),
    TM_TEST(script_errors_carry_their_line),
    TM_TEST(the_script_is_bounded),
    TM_TEST(undefined_targets_are_warnings),
    TM_TEST(a_missing_file_is_said),
    TM_TEST(a_file_that_is_no_text_is_said_to_be_none),
};
TM_TEST_MAIN("tools/topology", tests)
