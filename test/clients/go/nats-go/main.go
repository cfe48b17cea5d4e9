// nats.go, in one case: one line of JSON on stdout, as cell.mjs has it for JavaScript.
//
//	nats-go NATS_URL CASE RETRIES DEADLINE_MS
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	prompt  = "Say something about a river."
	weather = "rain from the west"
	// Longer than anything here takes.
	patience = 10 * time.Minute
)

type block struct {
	Type  string          `json:"type"`
	ID    string          `json:"id,omitempty"`
	Text  string          `json:"text,omitempty"`
	Name  string          `json:"name,omitempty"`
	Input json.RawMessage `json:"input,omitempty"`
}

// refusal is the body of a no, whole.
type refusal string

func (r refusal) Error() string { return string(r) }

func main() {
	nc, err := nats.Connect(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	defer nc.Close()
	ways := map[string]func(*nats.Conn) (string, int, error){
		"streamed": streamed, "tools": tools, "abort": abort,
	}
	run, known := ways[os.Args[2]]
	if !known {
		run = plain
	}
	began := time.Now()
	text, pieces, err := run(nc)
	end := map[string]any{"text": text, "pieces": pieces, "ms": time.Since(began).Milliseconds()}
	if err != nil {
		kind := strings.TrimPrefix(fmt.Sprintf("%T", err), "*")
		if _, ours := err.(refusal); ours {
			kind = "an answer"
		}
		end["error"] = map[string]string{"type": kind, "message": err.Error()}
	}
	line, _ := json.Marshal(end) // texts and numbers always fit
	fmt.Println(string(line))
}

func plain(nc *nats.Conn) (string, int, error) {
	blocks, err := ask(nc, body(nil))
	return textOf(blocks), 0, err
}

func tools(nc *nats.Conn) (string, int, error) {
	blocks, err := ask(nc, body(nil))
	if err != nil {
		return "", 0, err
	}
	used := blocks[len(blocks)-1]
	result := map[string]any{"type": "tool_result", "tool_use_id": used.ID, "content": weather}
	blocks, err = ask(nc, body([]any{
		map[string]any{"role": "assistant", "content": blocks},
		map[string]any{"role": "user", "content": []any{result}},
	}))
	return textOf(blocks), 0, err
}

func streamed(nc *nats.Conn) (string, int, error) { return read(nc, func() bool { return true }) }

// abort goes, and with it the inbox that the answer would come to.
func abort(nc *nats.Conn) (string, int, error) { return read(nc, func() bool { return false }) }

// read reads on while it is told to.
func read(nc *nats.Conn, on func() bool) (text string, pieces int, err error) {
	call := message(body(nil))
	call.Reply = nc.NewInbox()
	events, err := nc.SubscribeSync(call.Reply)
	if err != nil {
		return "", 0, err
	}
	defer events.Unsubscribe()
	if err := nc.PublishMsg(call); err != nil {
		return "", 0, err
	}
	for {
		part, err := events.NextMsg(patience)
		if err != nil {
			return text, pieces, err
		}
		if err := refused(part); err != nil {
			return text, pieces, err
		}
		if len(part.Data) == 0 {
			return text, pieces, nil
		}
		var event struct{ Delta struct{ Text string } }
		if err := json.Unmarshal(part.Data, &event); err != nil {
			return text, pieces, err
		}
		if event.Delta.Text == "" {
			continue
		}
		text, pieces = text+event.Delta.Text, pieces+1
		if !on() {
			return text, pieces, nil
		}
	}
}

func ask(nc *nats.Conn, body []byte) ([]block, error) {
	reply, err := nc.RequestMsg(message(body), patience)
	if err != nil {
		return nil, err
	}
	if err := refused(reply); err != nil {
		return nil, err
	}
	var answer struct{ Content []block }
	err = json.Unmarshal(reply.Data, &answer)
	return answer.Content, err
}

func refused(reply *nats.Msg) error {
	if reply.Header.Get("Nats-Service-Error-Code") == "" {
		return nil
	}
	return refusal(reply.Data)
}

func message(body []byte) *nats.Msg {
	call := nats.NewMsg("llm.v1.request.acme.interactive")
	call.Data = body
	if deadline := os.Args[4]; deadline != "lane" {
		call.Header.Set("Headgate-Deadline-Ms", deadline)
	}
	return call
}

func body(more []any) []byte {
	name := os.Args[2]
	asked := map[string]any{
		"model":      "claude-haiku-4-5",
		"max_tokens": 1000,
		"stream":     name == "streamed" || name == "abort",
		"messages":   append([]any{map[string]string{"role": "user", "content": prompt}}, more...),
	}
	if name == "tools" {
		asked["tools"] = []any{map[string]any{
			"name":         "weather",
			"input_schema": map[string]any{"type": "object"},
		}}
	}
	bytes, _ := json.Marshal(asked) // numbers and texts always fit
	return bytes
}

func textOf(blocks []block) (text string) {
	for _, one := range blocks {
		text += one.Text
	}
	return text
}
