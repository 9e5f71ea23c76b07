// One node: for development.  A write is on disk when it is answered, and nowhere else.
defineCluster("dev", {});
