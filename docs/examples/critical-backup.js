// Nothing that got its OK may be lost, even if the whole cluster is.  Synchronous: a write gets its OK
// when a quorum of `critical` and, after that, a quorum of `backup` have it on disk.  If `critical` burns down,
// `tidemill link promote` at `backup` takes over.
defineCluster("critical", {
  region: "eu-west-1",
  nodes: ["critical-1", "critical-2", "critical-3"],
  consistency: "strong",
  partitions: 32,
  replicateTo: ["backup"],
  replicationMode: "sync",
  ackLevel: "durable",
  syncTimeoutMs: 2000,
  onUnavailable: "fail" // or "block": wait for it; or "degrade": go on alone until it is back
});

defineCluster("backup", {
  region: "eu-central-1",
  consistency: "strong",
  partitions: 32
});
