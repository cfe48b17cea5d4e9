// The SDK for Go, in one case: one line of JSON on stdout, as cell.mjs has it for JavaScript.
//
//	anthropic-sdk BASE_URL CASE RETRIES DEADLINE_MS
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/anthropics/anthropic-sdk-go"
	"github.com/anthropics/anthropic-sdk-go/option"
	"github.com/anthropics/anthropic-sdk-go/toolrunner"
)

const (
	model   = "claude-haiku-4-5"
	prompt  = "Say something about a river."
	weather = "rain from the west"
)

type way func(ctx context.Context, client anthropic.Client) (text string, pieces int, err error)

func main() {
	client := anthropic.NewClient(options(os.Args[1], os.Args[3], os.Args[4])...)
	ways := map[string]way{"streamed": streamed, "tools": tools, "abort": abort}
	run, known := ways[os.Args[2]]
	if !known {
		run = plain
	}
	began := time.Now()
	text, pieces, err := run(context.Background(), client)
	end := map[string]any{"text": text, "pieces": pieces, "ms": time.Since(began).Milliseconds()}
	if err != nil {
		end["error"] = map[string]string{
			"type":    strings.TrimPrefix(fmt.Sprintf("%T", err), "*"),
			"message": err.Error(),
		}
	}
	line, _ := json.Marshal(end) // texts and numbers always fit
	fmt.Println(string(line))
}

func options(url, retries, deadline string) []option.RequestOption {
	all := []option.RequestOption{option.WithBaseURL(url), option.WithAPIKey("any")}
	if most, err := strconv.Atoi(retries); err == nil {
		all = append(all, option.WithMaxRetries(most))
	}
	if deadline != "lane" {
		all = append(all, option.WithHeader("headgate-deadline-ms", deadline))
	}
	return all
}

func params() anthropic.MessageNewParams {
	return anthropic.MessageNewParams{
		Model:     model,
		MaxTokens: 1000,
		Messages:  []anthropic.MessageParam{anthropic.NewUserMessage(anthropic.NewTextBlock(prompt))},
	}
}

func plain(ctx context.Context, client anthropic.Client) (string, int, error) {
	message, err := client.Messages.New(ctx, params())
	if err != nil {
		return "", 0, err
	}
	text := ""
	for _, block := range message.Content {
		text += block.Text
	}
	return text, 0, nil
}

func streamed(ctx context.Context, client anthropic.Client) (string, int, error) {
	return read(ctx, client, func() bool { return true })
}

func abort(ctx context.Context, client anthropic.Client) (string, int, error) {
	ctx, leave := context.WithCancel(ctx)
	text, pieces, _ := read(ctx, client, func() bool {
		leave()
		return false
	})
	return text, pieces, nil
}

// read reads on while it is told to.
func read(ctx context.Context, client anthropic.Client, on func() bool) (text string, pieces int, err error) {
	stream := client.Messages.NewStreaming(ctx, params())
	defer stream.Close()
	for stream.Next() {
		delta, ok := stream.Current().AsAny().(anthropic.ContentBlockDeltaEvent)
		if !ok {
			continue
		}
		text, pieces = text+delta.Delta.Text, pieces+1
		if !on() {
			break
		}
	}
	return text, pieces, stream.Err()
}

func tools(ctx context.Context, client anthropic.Client) (string, int, error) {
	type place struct {
		Place string `json:"place"`
	}
	tool, err := toolrunner.NewBetaToolFromJSONSchema("weather", "The weather at a place",
		func(_ context.Context, at place) (anthropic.BetaToolResultBlockParamContentUnion, error) {
			said := anthropic.BetaTextBlockParam{Text: at.Place + ": " + weather}
			return anthropic.BetaToolResultBlockParamContentUnion{OfText: &said}, nil
		})
	if err != nil {
		return "", 0, err
	}
	asked := anthropic.BetaMessageNewParams{
		Model:     model,
		MaxTokens: 1000,
		Messages:  []anthropic.BetaMessageParam{anthropic.NewBetaUserMessage(anthropic.NewBetaTextBlock(prompt))},
	}
	runner := client.Beta.Messages.NewToolRunner([]anthropic.BetaTool{tool},
		anthropic.BetaToolRunnerParams{BetaMessageNewParams: asked})
	message, err := runner.RunToCompletion(ctx)
	if err != nil {
		return "", 0, err
	}
	text := ""
	for _, block := range message.Content {
		text += block.Text
	}
	return text, 0, nil
}
