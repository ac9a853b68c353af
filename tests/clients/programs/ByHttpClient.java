// java ByHttpClient.java URL AUTHORITY: java.net.http as it comes, which asks for `Upgrade: h2c` over plain HTTP.

import java.io.FileInputStream;
import java.io.ByteArrayInputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublisher;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.security.KeyStore;
import java.security.MessageDigest;
import java.security.cert.CertificateFactory;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.stream.Collectors;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;

public class ByHttpClient {
    static HttpClient client;
    static String url;
    static String pass = System.getenv("SHIELD_PASS");

    static boolean shows() {
        return pass != null && !pass.isEmpty();
    }

    static HttpResponse<byte[]> ask(String path, String method, BodyPublisher body, String... fields) throws Exception {
        HttpRequest.Builder request = HttpRequest.newBuilder(URI.create(url + path)).method(method, body);
        if (fields.length > 0) request.headers(fields);
        if (shows()) request.header("Shield-Pass", pass);
        return client.send(request.build(), BodyHandlers.ofByteArray());
    }

    static HttpResponse<byte[]> get(String path, String... fields) throws Exception {
        return ask(path, "GET", BodyPublishers.noBody(), fields);
    }

    static String text(HttpResponse<byte[]> response) {
        return new String(response.body());
    }

    static String digest(byte[]... data) throws Exception {
        MessageDigest sha = MessageDigest.getInstance("SHA-256");
        for (byte[] each : data) sha.update(each);
        return HexFormat.of().formatHex(sha.digest());
    }

    public static void main(String[] arguments) throws Exception {
        url = arguments[0];
        KeyStore store = KeyStore.getInstance(KeyStore.getDefaultType());
        store.load(null);
        try (FileInputStream file = new FileInputStream(arguments[1])) {
            store.setCertificateEntry("authority", CertificateFactory.getInstance("X.509").generateCertificate(file));
        }
        TrustManagerFactory trusted = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        trusted.init(store);
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(null, trusted.getTrustManagers(), null);
        client = HttpClient.newBuilder().sslContext(context).followRedirects(HttpClient.Redirect.NORMAL).build();

        byte[] upload = new byte[40960 * 256];
        for (int place = 0; place < upload.length; place++) upload[place] = (byte) place;
        byte[][] items = new byte[30][];
        for (int number = 0; number < items.length; number++) items[number] = get("/item/" + number).body();
        BodyPublisher none = BodyPublishers.noBody();
        BodyPublisher whole = BodyPublishers.ofByteArray(upload);
        BodyPublisher streamed = BodyPublishers.ofInputStream(() -> new ByteArrayInputStream(upload));

        Map<String, String> found = new LinkedHashMap<>();
        found.put("items", digest(items));
        found.put("moved", text(get("/moved")));
        found.put("see_other", text(ask("/see-other", "POST", BodyPublishers.ofString("name=x"))));
        found.put("head", ask("/large", "HEAD", none).headers().firstValue("Content-Length").get());
        found.put("put", text(ask("/echo", "PUT", BodyPublishers.ofString("12345"))));
        found.put("delete", text(ask("/echo", "DELETE", none)));
        found.put("options", text(ask("/echo", "OPTIONS", none)));
        HttpRequest.Builder careful = HttpRequest.newBuilder(URI.create(url + "/upload")).POST(whole).expectContinue(true);
        if (shows()) careful.header("Shield-Pass", pass);
        found.put("upload", text(client.send(careful.build(), BodyHandlers.ofByteArray())));
        found.put("chunked", text(ask("/upload", "POST", streamed)));
        found.put("range", digest(get("/large", "Range", "bytes=1000-1999").body()));
        found.put("large", digest(get("/large").body()));
        found.put("stream", digest(get("/stream").body()));
        found.put("empty", "" + get("/empty").statusCode());
        found.put("unchanged", "" + get("/unchanged", "If-None-Match", "\"v1\"").statusCode());
        found.put("missing", "" + get("/missing").statusCode());
        found.put("events", text(get("/events")).lines().filter(line -> line.startsWith("data: "))
            .map(line -> line.substring(6)).collect(Collectors.joining(",")));

        CompletableFuture<String> echoed = new CompletableFuture<>();
        java.net.http.WebSocket.Builder opening = client.newWebSocketBuilder();
        if (shows()) opening.header("Shield-Pass", pass);
        java.net.http.WebSocket socket = opening
            .buildAsync(URI.create(url.replaceFirst("http", "ws") + "/socket"), new java.net.http.WebSocket.Listener() {
                public java.util.concurrent.CompletionStage<?> onText(
                    java.net.http.WebSocket socket, CharSequence data, boolean last) {
                    echoed.complete(data.toString());
                    return null;
                }
            }).join();
        socket.sendText("hello", true).join();
        if (!echoed.get().equals("hello")) throw new AssertionError(echoed.get());
        socket.sendClose(1000, "").join();

        System.out.println(found.entrySet().stream()
            .map(each -> '"' + each.getKey() + "\": \"" + each.getValue() + '"')
            .collect(Collectors.joining(", ", "{", "}")));
        System.exit(0);
    }
}
