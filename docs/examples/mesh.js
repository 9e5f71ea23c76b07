// Three clusters, each linked with both others.  Every link ships what was written at its source only
// (forward: "none", the default), so that a write crosses two links and none twice.
const names = ["paris", "tokyo", "lima"];
const regions = { paris: "eu-west-3", tokyo: "ap-northeast-1", lima: "sa-west-1" };

defineEntity("Visit", { fields: { count: { conflict: "counter" } } });

names.forEach(function (name) {
  defineCluster(name, {
    region: regions[name],
    partitions: 32,
    replicateTo: names.filter(function (other) { return other !== name; })
  });
});
