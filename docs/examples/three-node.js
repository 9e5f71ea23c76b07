// Three nodes, three copies of everything, strong consistency: an answered write is on the disks of
// two nodes, and any one node may fail.  tools/demo starts this one.
defineCluster("demo", {
  nodes: ["node-1", "node-2", "node-3"],
  replicationFactor: 3,
  consistency: "strong"
});
