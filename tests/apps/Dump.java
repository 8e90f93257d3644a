// Does nothing about signals: what the JVM does by itself is what is looked at. SIGQUIT is a thread dump on standard output,
// and SIGTERM runs the shutdown hook.
public class Dump {
    public static void main(String[] args) throws Exception {
        Runtime.getRuntime().addShutdownHook(new Thread(() -> System.out.println("shutdown hook")));
        System.out.println("ready");
        Thread.sleep(Long.MAX_VALUE);
    }
}
