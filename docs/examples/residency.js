// Customers of Europe stay in Europe.  A cluster's jurisdiction is its region's part before the first
// "-" ("eu"), or what `jurisdiction` says.  A type with a residency leaves only for clusters whose
// jurisdiction it lists, is refused again at the target, and no wildcard takes it.
defineEntity("Customer", { residency: ["eu", "ch"] });
defineEntity("Order", {});

defineCluster("frankfurt", {
  region: "eu-central-1",
  partitions: 32,
  replicateTo: [
    "zurich",  // Customer goes there
    "virginia" // all but Customer goes there: `plan` says so
  ]
});

defineCluster("zurich", { location: "own building", jurisdiction: "ch", partitions: 32 });

defineCluster("virginia", { region: "us-east-1", partitions: 32 });
