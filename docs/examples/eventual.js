// Low latency first: the leader answers when the write is on its own disk; followers get it in
// batches, and every node answers reads from what it has.  How much a failover may cut off is capped
// by --async-window-bytes and --async-window-ms.
defineCluster("edge", {
  location: "factory floor",
  nodes: ["edge-1", "edge-2", "edge-3"],
  replicationFactor: 3,
  consistency: "eventual"
});
