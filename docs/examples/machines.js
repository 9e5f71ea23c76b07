// Three machines.  Where a node is cannot be guessed: defineNode says it.  On each machine:
//   tidemill serve --topology machines.js --cluster orders --node NAME --data-dir DIR
const addresses = { "node-a": "10.0.0.11", "node-b": "10.0.0.12", "node-c": "10.0.0.13" };
const names = ["node-a", "node-b", "node-c"];

defineCluster("orders", {
  region: "rack 7",
  nodes: names,
  replicationFactor: 3
});

names.forEach(function (name) {
  defineNode(name, { address: addresses[name], workers: 4, fabric: "tcp" });
});
