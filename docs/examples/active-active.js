// Two clusters, both written to, each holding what the other has.  Where both change the same thing
// without knowing of each other, a rule says what becomes of it, the same at both: no order of
// arrival, and no clock alone, decides.
defineEntity("Order", {
  conflict: "field-lww", // the later change wins, field by field: the default
  fields: {
    stock: { conflict: "counter" }, // HINCRBY on both sides adds up
    highestBid: { conflict: "max" },
    note: {
      // A rule of one's own: pure, and the same whichever comes first.  Tried on samples by `plan`.
      conflict: function (a, b) {
        if (a === b) { return a; }
        return a < b ? a + "; " + b : b + "; " + a;
      }
    }
  }
});
defineEntity("Tag", { conflict: "set" });
defineEntity("Tariff", { conflict: "home", home: "east" }); // east has the last word

defineCluster("east", {
  region: "us-east-1",
  nodes: ["east-1", "east-2", "east-3"],
  partitions: 32,
  replicateTo: ["west"]
});

defineCluster("west", {
  region: "us-west-2",
  nodes: ["west-1", "west-2", "west-3"],
  partitions: 32,
  replicateTo: ["east"]
});
