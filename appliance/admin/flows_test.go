package admin

import (
	"encoding/json"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"culvert/proxy/network"
)

func address(s string) network.Address { return network.IPAddress(netip.MustParseAddrPort(s)) }

// someFlows are one pending, one that moves bytes through a tunnel, one that
// was refused.
func someFlows(r *rig) (open *network.StreamInfo) {
	flow := func(source string) *network.StreamInfo {
		info := network.NewStreamInfo(r.flows.NextID())
		info.RemoteAddress, info.LocalAddress = address(source), address("203.0.113.7:443")
		info.Listener = "capture"
		r.flows.Add(info)
		return info
	}
	flow("198.18.0.1:1000")

	open = flow("198.18.0.1:2000")
	open.FilterChain, open.Cluster, open.Route = "tunnel", "gateway", "connect"
	open.SetFilterState(network.StateDestination, "web.example:443")
	open.Mark(network.StepMatched)
	open.SetUpstream(&network.UpstreamInfo{Host: address("192.0.2.2:443"), ConnectionID: 12, StreamID: 5, Protocol: "HTTP/2"})
	open.Mark(network.StepAccepted)

	refused := flow("198.18.0.1:3000")
	refused.Parent = open
	refused.SetUpstream(&network.UpstreamInfo{Host: address("192.0.2.9:80")})
	refused.ResponseCode, refused.Details = 503, "upstream_reset_before_response_started"
	refused.Fail(network.WithReason(network.ReasonConnectionRefused, errors.New("dial: <b>refused</b>")))
	refused.Mark(network.StepRejected)
	r.flows.Remove(refused)
	return open
}

func flowsOf(t *testing.T, r *rig) []FlowStatus {
	t.Helper()
	var got struct{ Flows []FlowStatus }
	w := r.get("/flows?format=json")
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatalf("%v in %s", err, w.Body)
	}
	return got.Flows
}

func TestFlowsJSON(t *testing.T) {
	r := newRig()
	if body := r.get("/flows?format=json").Body.String(); body != "{\n \"flows\": []\n}\n" {
		t.Errorf("no flows are %q", body)
	}
	open := someFlows(r)
	got := flowsOf(t, r)
	if len(got) != 3 {
		t.Fatalf("%d flows, want 3", len(got))
	}
	ended, pending, live := got[0], got[1], got[2]
	if pending.State != "pending" || pending.Verdict != "" || pending.Destination != "203.0.113.7:443" || pending.Flags != "-" {
		t.Errorf("pending: %+v", pending)
	}
	if live.State != "open" || live.Verdict != "accepted" || live.Destination != "web.example:443" ||
		live.Source != "198.18.0.1:2000" || live.Listener != "capture" || live.FilterChain != "tunnel" || live.Route != "connect" ||
		live.Cluster != "gateway" || live.Upstream != "192.0.2.2:443" || live.Connection != 12 || live.Stream != 5 || live.Protocol != "HTTP/2" {
		t.Errorf("open: %+v", live)
	}
	if len(live.Steps) != 2 || live.Steps[0].Name != network.StepMatched || live.Steps[1].Name != network.StepAccepted ||
		live.Steps[0].MS < 0 || live.Steps[1].MS < live.Steps[0].MS {
		t.Errorf("steps: %+v", live.Steps)
	}
	if ended.State != "ended" || ended.Parent != open.ID || ended.Verdict != network.VerdictRefused.String() || ended.Code != 503 ||
		ended.Flags != "UF" || ended.Details != "upstream_reset_before_response_started" || ended.Cause != "dial: <b>refused</b>" {
		t.Errorf("ended: %+v", ended)
	}
	if last := ended.Steps[len(ended.Steps)-1]; last.Name != network.StepEnded || ended.AgeSeconds*1000 < last.MS-1 || ended.IdleSeconds != 0 {
		t.Errorf("the age of what has ended is not frozen: %+v", ended)
	}

	// Bytes are live: what the relay counts is on the page at once.
	open.Meter.Received(100)
	open.Meter.Sent(2000)
	if live := flowsOf(t, r)[2]; live.Received != 100 || live.Sent != 2000 {
		t.Errorf("bytes %d and %d, want 100 and 2000", live.Received, live.Sent)
	}
}

func TestFlowsText(t *testing.T) {
	r := newRig()
	someFlows(r).Meter.Sent(2000)
	lines := strings.Split(r.get("/flows").Body.String(), "\n")
	var got [][]string
	for _, line := range lines {
		got = append(got, strings.Fields(line))
	}
	if len(lines) != 5 || lines[4] != "" {
		t.Fatalf("page:\n%s", strings.Join(lines, "\n"))
	}
	for i, want := range []string{
		"ID KIND STATE AGE SOURCE DESTINATION CLUSTER VIA VERDICT RECEIVED SENT FLAGS CAUSE",
		"3 flow ended * 198.18.0.1:3000 203.0.113.7:443 - 192.0.2.9:80 " + network.VerdictRefused.String() + " 0 0 UF dial: <b>refused</b>",
		"1 flow pending * 198.18.0.1:1000 203.0.113.7:443 - - - 0 0 - -",
		"2 flow open * 198.18.0.1:2000 web.example:443 gateway 192.0.2.2:443 #12/5 accepted 0 2000 - -",
	} {
		if i > 0 {
			got[i][3] = "*" // the age
		}
		if strings.Join(got[i], " ") != want {
			t.Errorf("line %d is %q, want %q", i, got[i], want)
		}
	}
}

// What a flow's cause or name contains cannot break the table or the terminal
// it is shown on.
func TestFlowsTextIsOneLineEach(t *testing.T) {
	r := newRig()
	info := network.NewStreamInfo(r.flows.NextID())
	info.SetFilterState(network.StateDestination, "a\tb\x1b[2J:1")
	info.Fail(errors.New("two\nlines\r"))
	r.flows.Add(info)
	body := r.get("/flows").Body.String()
	if strings.Count(body, "\n") != 2 || strings.ContainsAny(body, "\x1b\r\t") {
		t.Errorf("page %q", body)
	}
}

// Rows say what they are of, and whether the application was answered before
// the far end was reached.
func TestFlowsKinds(t *testing.T) {
	r := newRig()
	connection := network.NewStreamInfo(r.flows.NextID())
	connection.Kind, connection.RemoteAddress = network.KindConnection, address("198.18.0.1:1000")
	r.flows.Add(connection)
	exchange := connection.Child(r.flows.NextID())
	exchange.Kind = network.KindExchange
	r.flows.Add(exchange)
	early := network.NewStreamInfo(r.flows.NextID())
	early.AcceptedEarly, early.RemoteAddress = true, address("198.18.0.1:2000")
	r.flows.Add(early)
	early.Mark(network.StepAccepted)

	got := flowsOf(t, r)
	if len(got) != 3 || got[0].Kind != "connection" || got[1].Kind != "exchange" || got[2].Kind != "flow" {
		t.Fatalf("kinds of %+v", got)
	}
	if got[0].AcceptedEarly || !got[2].AcceptedEarly {
		t.Errorf("accepted early: %+v", got)
	}
	if n := r.flows.Flows(); n != 2 {
		t.Errorf("%d flows, want 2: a connection is none beside its exchanges", n)
	}
	text := r.get("/flows").Body.String()
	if !strings.Contains(text, "KIND") || !strings.Contains(text, "accepted early") || !strings.Contains(text, "connection") {
		t.Errorf("text:\n%s", text)
	}
}
