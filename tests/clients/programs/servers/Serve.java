// Answers that are odd but legal, by the server of the JDK. The one argument is the port.
import com.sun.net.httpserver.HttpServer;
import java.net.InetSocketAddress;

class Serve {
    public static void main(String[] arguments) throws Exception {
        var server = HttpServer.create(new InetSocketAddress("127.0.0.1", Integer.parseInt(arguments[0])), 0);
        server.createContext("/", exchange -> {
            var path = exchange.getRequestURI().getPath();
            var head = exchange.getRequestMethod().equals("HEAD");
            switch (path) {
                case "/none" -> exchange.sendResponseHeaders(204, -1);
                case "/reset" -> exchange.sendResponseHeaders(205, -1);
                case "/same" -> {
                    exchange.getResponseHeaders().set("ETag", "\"a\"");
                    exchange.sendResponseHeaders(304, -1);
                }
                case "/chunks" -> {
                    exchange.sendResponseHeaders(200, 0);
                    exchange.getResponseBody().write("onetwo".getBytes());
                }
                case "/odd" -> {
                    exchange.sendResponseHeaders(999, 5);
                    exchange.getResponseBody().write("hello".getBytes());
                }
                default -> {
                    exchange.sendResponseHeaders(200, head ? -1 : 5);
                    if (!head) exchange.getResponseBody().write("hello".getBytes());
                }
            }
            exchange.close();
        });
        server.start();
    }
}
