// A factory that keeps writing while the cloud is away.  Asynchronous: a write at the edge gets its
// OK from the edge alone, and what it committed follows.  The line to the cloud may be cut for a day;
// what the edge then holds back for it is bounded, and past that it keeps the latest version of each
// entity only.  Local writes never stop for it.
defineCluster("factory", {
  location: "on-premise",
  region: "eu-south-1",
  nodes: ["edge-1", "edge-2", "edge-3"],
  replicationFactor: 2, // two copies and a witness: any one of the boxes may fail
  partitions: 64,
  replicateTo: ["cloud"],
  replicationMode: "async",
  maxBacklogBytes: "256MiB",
  maxBacklogAge: "24h",
  maxBytesPerSecond: "20MiB" // leave some of the line to others
});

defineCluster("cloud", {
  provider: "aws",
  region: "eu-west-1",
  partitions: 64
});
