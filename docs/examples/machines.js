// Three machines.  Where a node is cannot be guessed: defineNode says it.  On each machine:
//   tidemill serve --topology machines.js --cluster orders --node NAME --data-dir DIR
// For frames straight to the wire by DPDK in the place of tcp, give each node a port and, on that port, an
// address of its own that the kernel does not have:
//   { address: "10.0.0.11", fabricPort: "af_packet:eth1", fabricAddress: "10.1.0.11" }
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
