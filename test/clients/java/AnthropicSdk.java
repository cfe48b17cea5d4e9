import com.anthropic.client.AnthropicClient;
import com.anthropic.client.okhttp.AnthropicOkHttpClient;
import com.anthropic.core.JsonValue;
import com.anthropic.core.http.StreamResponse;
import com.anthropic.models.messages.ContentBlock;
import com.anthropic.models.messages.ContentBlockParam;
import com.anthropic.models.messages.Message;
import com.anthropic.models.messages.MessageCreateParams;
import com.anthropic.models.messages.RawMessageStreamEvent;
import com.anthropic.models.messages.Tool;
import com.anthropic.models.messages.ToolResultBlockParam;
import com.anthropic.models.messages.ToolUseBlock;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * The SDK for Java, in one case: one line of JSON on stdout, as cell.mjs has it for JavaScript.
 *
 * <p>java AnthropicSdk BASE_URL CASE RETRIES DEADLINE_MS
 */
final class AnthropicSdk {
    private static final String WEATHER = "rain from the west";
    private final AnthropicClient client;
    private final List<String> pieces = new ArrayList<>();

    public static void main(String[] args) throws Exception {
        AnthropicOkHttpClient.Builder builder = AnthropicOkHttpClient.builder().baseUrl(args[0]).apiKey("any");
        if (!args[2].equals("default")) builder.maxRetries(Integer.parseInt(args[2]));
        if (!args[3].equals("lane")) builder.putHeader("headgate-deadline-ms", args[3]);
        AnthropicSdk sdk = new AnthropicSdk(builder.build());
        long began = System.nanoTime();
        Map<String, Object> end;
        try {
            end = Map.of("text", sdk.run(args[1]), "pieces", sdk.pieces.size(), "ms", since(began));
        } catch (RuntimeException error) {
            Map<String, String> told = Map.of(
                    "type", error.getClass().getSimpleName(), "message", String.valueOf(error.getMessage()));
            end = Map.of("error", told, "ms", since(began));
        }
        System.out.println(new ObjectMapper().writeValueAsString(end));
        // Not for the minute that its threads would wait for more.
        System.exit(0);
    }

    private AnthropicSdk(AnthropicClient client) {
        this.client = client;
    }

    private static long since(long began) {
        return (System.nanoTime() - began) / 1_000_000;
    }

    private String run(String name) {
        return switch (name) {
            case "streamed" -> streamed(false);
            case "abort" -> streamed(true);
            case "tools" -> tools();
            default -> textOf(client.messages().create(params().build()));
        };
    }

    private static MessageCreateParams.Builder params() {
        return MessageCreateParams.builder()
                .model("claude-haiku-4-5")
                .maxTokens(1000)
                .addUserMessage("Say something about a river.");
    }

    private String streamed(boolean leaves) {
        try (StreamResponse<RawMessageStreamEvent> response =
                client.messages().createStreaming(params().build())) {
            Iterator<String> texts = response.stream()
                    .flatMap(event -> event.contentBlockDelta().stream())
                    .flatMap(event -> event.delta().text().stream())
                    .map(delta -> delta.text())
                    .iterator();
            while (texts.hasNext()) {
                pieces.add(texts.next());
                if (leaves) break;
            }
        }
        return String.join("", pieces);
    }

    private String tools() {
        Tool weather = Tool.builder()
                .name("weather")
                .description("The weather at a place")
                .inputSchema(Tool.InputSchema.builder()
                        .properties(JsonValue.from(Map.of("place", Map.of("type", "string"))))
                        .build())
                .build();
        MessageCreateParams.Builder asked = params().addTool(weather);
        Message answer = client.messages().create(asked.build());
        List<ContentBlockParam> results = answer.content().stream()
                .flatMap(block -> block.toolUse().stream())
                .map(AnthropicSdk::resultOf)
                .collect(Collectors.toList());
        return textOf(client.messages()
                .create(asked.addMessage(answer)
                        .addUserMessageOfContentBlockParams(results)
                        .build()));
    }

    private static ContentBlockParam resultOf(ToolUseBlock use) {
        return ContentBlockParam.ofToolResult(ToolResultBlockParam.builder()
                .toolUseId(use.id())
                .content(WEATHER)
                .build());
    }

    private static String textOf(Message message) {
        Stream<ContentBlock> blocks = message.content().stream();
        return blocks.flatMap(block -> block.text().stream())
                .map(block -> block.text())
                .collect(Collectors.joining());
    }
}
