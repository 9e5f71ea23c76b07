// A region ships what the others need to know, by type, and keeps the rest.  An order is
// `HSET Order:42 status paid`: its type is what stands before the first colon.
defineEntity("Order", {});
defineEntity("OrderDraft", {});
defineEntity("Customer", {});
defineEntity("InternalLog", {});

defineCluster("regional", {
  region: "us-east-1",
  nodes: ["regional-1", "regional-2", "regional-3"],
  partitions: 64,
  replicateTo: ["global"],
  replicateEntityTypes: ["Order*", "Customer"],
  excludeEntityTypes: ["OrderDraft", "InternalLog"] // exclude always wins
});

defineCluster("global", { region: "us-west-2", partitions: 128 });
