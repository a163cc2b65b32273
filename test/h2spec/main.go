// Command h2spec runs the h2spec conformance suite against culvert's HTTP/2
// server, in cleartext on loopback. It is a module of its own: the suite is no
// dependency of the product.
//
//	cd test/h2spec && go run . [-strict] [-section http2/6.5]
package main

import (
	"context"
	"flag"
	"io"
	"log"
	"net"
	"os"
	"time"

	"culvert/proxy/codec"
	"culvert/proxy/codec/h2"
	"culvert/proxy/network"

	"github.com/summerwind/h2spec"
	"github.com/summerwind/h2spec/config"
)

// The suite supposes that five of its fields do not fit into a frame, and that
// one fits into a header list: with our own 256 KiB and 60 KiB no length of a
// field, in bytes, is both.
const (
	maxFrame  = 64 << 10
	headerLen = 20_000
)

func main() {
	strict := flag.Bool("strict", true, "run the cases that only some read as a MUST, too")
	section := flag.String("section", "", "run one section only, as http2/6.5")
	verbose := flag.Bool("verbose", false, "log every frame")
	timeout := flag.Duration("timeout", 2*time.Second, "of one case")
	flag.Parse()

	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	go accept(ln) // ends with the process

	c := &config.Config{
		Host: "127.0.0.1", Port: ln.Addr().(*net.TCPAddr).Port, Path: "/",
		Timeout: *timeout, MaxHeaderLen: headerLen, Strict: *strict, Verbose: *verbose,
	}
	if *section != "" {
		c.Sections = []string{*section}
	}
	passed, err := h2spec.Run(c)
	if err != nil {
		log.Fatal(err)
	}
	if !passed {
		os.Exit(1)
	}
}

func accept(ln net.Listener) {
	for {
		c, err := ln.Accept()
		if err != nil {
			log.Fatal(err)
		}
		s, err := network.NewSocket(c)
		if err != nil {
			log.Fatal(err)
		}
		// The errors are what the suite provokes; it judges them itself.
		go func() { _ = h2.ServeConn(context.Background(), s, h2.Config{MaxFrameSize: maxFrame}, serve) }()
	}
}

// serve answers once the request is whole.
func serve(_ context.Context, s codec.ServerStream) {
	if _, err := io.Copy(io.Discard, s); err != nil {
		return
	}
	if s.WriteResponse(&codec.Response{Status: 200, Header: codec.Fields{{Name: "content-type", Value: "text/plain"}}}) != nil {
		return
	}
	if _, err := io.WriteString(s, "A culvert carries a stream under a road.\n"); err == nil {
		_ = s.CloseWrite()
	}
}
