import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.util.concurrent.Executors;

public class Main {
    public static void main(String[] args) throws IOException {
        HttpServer server = HttpServer.create(new InetSocketAddress(8000), 128);
        server.createContext("/", exchange -> answer(exchange, 0));
        server.createContext("/slow", exchange -> answer(exchange, 1000));
        server.setExecutor(Executors.newFixedThreadPool(16));
        // As Spring Boot's server.shutdown=graceful with a timeout of 5 s.
        Runtime.getRuntime().addShutdownHook(new Thread(() -> server.stop(5)));
        server.start();
    }

    static void answer(HttpExchange exchange, int milliseconds) throws IOException {
        try {
            Thread.sleep(milliseconds);
        } catch (InterruptedException stopped) {
            Thread.currentThread().interrupt();
        }
        byte[] body = "hello\n".getBytes();
        exchange.sendResponseHeaders(200, body.length);
        exchange.getResponseBody().write(body);
        exchange.close();
    }
}
