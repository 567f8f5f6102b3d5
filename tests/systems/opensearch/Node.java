import org.codelibs.opensearch.runner.OpenSearchRunner;

/** One node of OpenSearch: FOLDER HTTP-PORT TRANSPORT-PORT. It ends with its process. */
public class Node {
  public static void main(String[] args) throws Exception {
    OpenSearchRunner runner = new OpenSearchRunner();
    runner.onBuild((number, settings) -> {
      settings.put("http.port", args[1]);
      settings.put("transport.port", args[2]);
      settings.put("network.host", "127.0.0.1");
      settings.put("cluster.initial_cluster_manager_nodes", "Node 1");
      settings.put("cluster.routing.allocation.disk.threshold_enabled", false);
    });
    runner.build(OpenSearchRunner.newConfigs().basePath(args[0]).numOfNode(1).clusterName("tests").useLogger());
    Thread.currentThread().join();
  }
}
