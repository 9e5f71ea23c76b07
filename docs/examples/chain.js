// Edge -> regional -> global.  The regional cluster passes on what came to it from the edge
// (forward: "transit"); without that, its link would ship only what was written at itself.  And back:
// prices are set at the top and go down the same way, which makes loops, but a record is never shipped
// to where it was written, and no cluster applies a change twice.
defineCluster("edge", {
  region: "eu-shop-7",
  partitions: 16,
  replicateTo: [{ cluster: "regional", excludeEntityTypes: ["Price"] }]
});

defineCluster("regional", {
  region: "eu-west-1",
  partitions: 32,
  forward: "transit",
  replicateTo: [
    { cluster: "global", excludeEntityTypes: ["Price"] },
    { cluster: "edge", replicateEntityTypes: ["Price"] }
  ]
});

defineCluster("global", {
  region: "us-east-1",
  partitions: 64,
  replicateTo: [{ cluster: "regional", replicateEntityTypes: ["Price"] }]
});
