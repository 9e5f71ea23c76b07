// Two copies and a witness: each entity is on two of the three nodes, and the third votes, so that
// any one node may fail.  A third of the disk space less than with three copies.
defineCluster("shop", {
  provider: "aws",
  region: "us-east-1",
  nodes: ["node-1", "node-2", "node-3"],
  replicationFactor: 2
});
