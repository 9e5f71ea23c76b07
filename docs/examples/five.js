// Five copies: any two nodes may fail at the same time.
const names = ["node-1", "node-2", "node-3", "node-4", "node-5"];

defineCluster("ledger", {
  nodes: names,
  replicationFactor: 5,
  partitions: 128
});
