// I write Go, and nats.go is all I need.
//
//	cd examples/go && go run .
//
// The body is what you would POST to /v1/messages; scheduling goes into headers, accounting comes back in them.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	tenant = "acme"
	lane   = "interactive"
	// A stream says something at least every five seconds, if only a ping.
	silence = 15 * time.Second
	ping    = `{"type":"ping"}`
)

func main() {
	log.SetFlags(0)
	url := os.Getenv("NATS_URL")
	if url == "" {
		url = nats.DefaultURL
	}
	// An inbox of the tenant's own: what per-tenant permissions allow.
	nc, err := nats.Connect(url, nats.CustomInboxPrefix("_INBOX_"+tenant))
	if err != nil {
		log.Fatal(err)
	}
	defer nc.Close()
	for _, example := range []func(*nats.Conn) error{ask, stream, cancel} {
		if err := example(nc); err != nil {
			log.Fatal(err)
		}
	}
}

// ask makes one call and reads one answer.
func ask(nc *nats.Conn) error {
	call := request(message{MaxTokens: 60, Prompt: "What does a headgate do?"})
	call.Header.Set("Headgate-Deadline-Ms", "30000")
	reply, err := nc.RequestMsg(call, 35*time.Second)
	if err != nil {
		return err
	}
	if err := refused(reply); err != nil {
		return err
	}
	var answer struct{ Content []struct{ Text string } }
	if err := json.Unmarshal(reply.Data, &answer); err != nil {
		return err
	}
	for _, block := range answer.Content {
		fmt.Println(block.Text)
	}
	fmt.Printf("%s after %s ms in the queue\n\n",
		reply.Header.Get("Headgate-Outcome"), reply.Header.Get("Headgate-Queue-Ms"))
	return nil
}

// stream reads an answer while it is written: a message for each event, then one with the accounting, which ends
// it and counts the events. An error ends it too.
func stream(nc *nats.Conn) error {
	call := request(message{MaxTokens: 60, Prompt: "Tell me about rivers.", Stream: true})
	call.Reply = nc.NewInbox()
	events, err := nc.SubscribeSync(call.Reply)
	if err != nil {
		return err
	}
	defer events.Unsubscribe()
	if err := nc.PublishMsg(call); err != nil {
		return err
	}
	for came := 0; ; {
		part, err := events.NextMsg(silence)
		if err != nil {
			return err
		}
		if err := refused(part); err != nil {
			return err
		}
		if part.Header.Get("Headgate-Outcome") != "" {
			if left := part.Header.Get("Headgate-Events"); left != fmt.Sprint(came) {
				return fmt.Errorf("%d of %s events came", came, left)
			}
			fmt.Printf("\n%s events, %s tokens\n\n",
				part.Header.Get("Headgate-Events"), part.Header.Get("Headgate-Output-Tokens"))
			return nil
		}
		if len(part.Data) == 0 {
			return errors.New("a part of the answer was lost")
		}
		if string(part.Data) == ping {
			continue
		}
		came++
		var event struct{ Delta struct{ Text string } }
		if err := json.Unmarshal(part.Data, &event); err != nil {
			return err
		}
		fmt.Print(event.Delta.Text)
	}
}

// cancel takes back a call by its id, as any process of the tenant may.
func cancel(nc *nats.Conn) error {
	id := fmt.Sprintf("essay-%d", os.Getpid())
	essay := request(message{MaxTokens: 4000, Prompt: "A very long essay about rivers, please."})
	essay.Header.Set("Headgate-Id", id)
	ended := make(chan error, 1)
	go func() {
		reply, err := nc.RequestMsg(essay, 35*time.Second)
		if err == nil {
			err = refused(reply)
		}
		ended <- err
	}()
	if err := known(nc, id); err != nil {
		return err
	}
	said, err := nc.Request(subject("cancel", id), nil, 5*time.Second)
	if err != nil {
		return err
	}
	fmt.Printf("asked to cancel: %s\n", said.Data)
	var refusal *Refusal
	if err := <-ended; !errors.As(err, &refusal) || refusal.Headgate.Code != "cancelled" {
		return fmt.Errorf("the call was not cancelled: %v", err)
	}
	fmt.Printf("the call ended: %s\n", refusal.Headgate.Code)
	return nil
}

// known waits until a call has arrived: what is sent after it may be heard before it.
func known(nc *nats.Conn, id string) error {
	for range 100 {
		reply, err := nc.Request(subject("status", id), nil, 5*time.Second)
		if err != nil {
			return err
		}
		if refused(reply) == nil {
			fmt.Printf("status: %s\n", reply.Data)
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	return errors.New("the call never arrived")
}

// Refusal is every no: what the API says, and whether and when the same may work.
type Refusal struct {
	Detail struct {
		Type    string `json:"type"`
		Message string `json:"message"`
	} `json:"error"`
	Headgate struct {
		Code         string `json:"code"`
		Retryable    bool   `json:"retryable"`
		RetryAfterMs int    `json:"retry_after_ms"`
	} `json:"headgate"`
}

func (r *Refusal) Error() string { return r.Headgate.Code + ": " + r.Detail.Message }

func refused(reply *nats.Msg) error {
	if reply.Header.Get("Nats-Service-Error-Code") == "" {
		return nil
	}
	refusal := &Refusal{}
	if err := json.Unmarshal(reply.Data, refusal); err != nil {
		return err
	}
	return refusal
}

type message struct {
	MaxTokens int
	Prompt    string
	Stream    bool
}

func request(m message) *nats.Msg {
	body, err := json.Marshal(map[string]any{
		"model":      "claude-haiku-4-5",
		"max_tokens": m.MaxTokens,
		"stream":     m.Stream,
		"messages":   []map[string]string{{"role": "user", "content": m.Prompt}},
	})
	if err != nil {
		panic(err) // numbers and texts always fit
	}
	call := nats.NewMsg(subject("request", lane))
	call.Data = body
	return call
}

func subject(kind, last string) string { return fmt.Sprintf("llm.v1.%s.%s.%s", kind, tenant, last) }
