package streamtest

import (
	"errors"
	"io"
	"strings"
	"testing"

	"culvert/proxy/codec"
	"culvert/proxy/network"
)

func TestPair(t *testing.T) {
	c, s := Pair(&codec.Request{Method: "CONNECT"})
	_, _ = c.Write([]byte("up"))
	_ = c.WriteTrailers(codec.Fields{{Name: "t", Value: "1"}})
	if b, err := io.ReadAll(s); string(b) != "up" || err != nil || s.Trailers().Get("t") != "1" {
		t.Errorf("server read %q, %v, %v", b, err, s.Trailers())
	}
	_ = s.WriteResponse(&codec.Response{Status: 200})
	if res, err := c.ReadResponse(t.Context()); err != nil || res.Status != 200 {
		t.Errorf("%+v %v", res, err)
	}
	if c.Context().Err() != nil {
		t.Error("over with a direction open")
	}
	_ = s.CloseWrite()
	<-c.Context().Done()
	if s.Reset(codec.CodeCancel, nil); s.Context().Err() == nil {
		t.Error("not over")
	}
	if _, reset := c.ResetCode(); reset {
		t.Error("a reset after both ends did something")
	}
}

func TestResetOvertakesNoHeadAndNoEnd(t *testing.T) {
	for range 100 {
		c, s := Pair(&codec.Request{Method: "GET"})
		go func() { // ends at once
			_ = s.WriteResponse(&codec.Response{Status: 200, EndStream: true})
			s.Reset(codec.CodeNoError, errors.New("enough"))
		}()
		if res, err := c.ReadResponse(t.Context()); err != nil || res == nil {
			t.Fatalf("%v %v", res, err)
		}
		if _, err := c.Read(make([]byte, 1)); err != io.EOF {
			t.Fatalf("read %v", err)
		}
	}
}

func TestWriteWaitsForTheReader(t *testing.T) {
	c, s := Pair(&codec.Request{Method: "POST"})
	wrote := make(chan error, 1)
	go func() { // ends with the reset
		_, err := io.WriteString(c, strings.Repeat("x", 2*window))
		wrote <- err
	}()
	if _, err := io.ReadFull(s, make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	s.Reset(codec.CodeCancel, errors.New("no"))
	if err := <-wrote; !network.IsReset(err) {
		t.Errorf("write ended with %v", err)
	}
}
