package scarcity

import (
	"fmt"
	"io"
	"net"
	"os"
)

// What an application asks an origin for, with the first byte it sends.
const (
	askNothing = 0
	askEcho    = 'e' // each byte back
	askFlood   = 'f' // bytes without end
)

// origin is the program at the far end: it listens at an address and does with
// each connection what its first byte asks for, until its own standard input
// ends.
func origin(args []string) int {
	ln, err := net.Listen("tcp", args[0])
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println("listening")
	go func() { // ends with the process
		for {
			c, err := ln.Accept()
			if err != nil {
				fmt.Println(err)
				os.Exit(1)
			}
			go answer(c) // ends with c
		}
	}()
	_, _ = io.Copy(io.Discard, os.Stdin)
	return 0
}

func answer(c net.Conn) {
	defer c.Close()
	b := make([]byte, 1)
	if _, err := c.Read(b); err != nil {
		return
	}
	if b[0] == askFlood {
		flood(c)
		return
	}
	for {
		if _, err := c.Write(b); err != nil {
			return
		}
		if _, err := c.Read(b); err != nil {
			return
		}
	}
}

func flood(c net.Conn) {
	block := make([]byte, 64<<10)
	for {
		if _, err := c.Write(block); err != nil {
			return
		}
	}
}
