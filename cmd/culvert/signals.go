package main

import (
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
)

// processSignals are what the process is told, each kind by a channel of its
// own: one that comes in a burst takes no place from another, and one that takes
// long to act on keeps no other waiting.
type processSignals struct {
	end    chan os.Signal // SIGTERM, SIGINT; two matter
	reload chan os.Signal // SIGHUP; one that waits stands for all behind it
	reopen chan os.Signal // SIGUSR1; the same
}

// notify begins to catch signals; stop ends that. SIGPIPE is caught and means
// nothing: otherwise whoever reads our log or access log and goes away would
// take every flow with him. (Caught and not ignored: children inherit the
// latter.)
func notify() (s processSignals, stop func()) {
	s = processSignals{make(chan os.Signal, 2), make(chan os.Signal, 1), make(chan os.Signal, 1)}
	pipe := make(chan os.Signal, 1)
	signal.Notify(s.end, syscall.SIGTERM, syscall.SIGINT)
	signal.Notify(s.reload, syscall.SIGHUP)
	signal.Notify(s.reopen, syscall.SIGUSR1)
	signal.Notify(pipe, syscall.SIGPIPE)
	return s, func() {
		for _, c := range []chan os.Signal{s.end, s.reload, s.reopen, pipe} {
			signal.Stop(c)
		}
	}
}

type signalActions struct {
	reload, reopen func()
	drain, kill    func(os.Signal) // return at once
}

// watch acts on signals until done; an action that is under way then is not
// awaited.
func (s processSignals) watch(live, done <-chan struct{}, act signalActions) {
	var draining atomic.Bool
	go s.watchEnd(done, &draining, act)          // ends with done
	go s.watchReload(live, done, &draining, act) // ends with done
	go s.watchReopen(done, act)                  // ends with done
}

func (s processSignals) watchEnd(done <-chan struct{}, draining *atomic.Bool, act signalActions) {
	for {
		select {
		case <-done:
			return
		case sig := <-s.end:
			if draining.Swap(true) {
				act.kill(sig)
			} else {
				act.drain(sig)
			}
		}
	}
}

// watchReload waits until live: what is asked for before is done then. While
// draining it is too late for a configuration, but logs are still rotated.
func (s processSignals) watchReload(live, done <-chan struct{}, draining *atomic.Bool, act signalActions) {
	select {
	case <-done:
		return
	case <-live:
	}
	for {
		select {
		case <-done:
			return
		case <-s.reload:
			act.reopen()
			if !draining.Load() {
				act.reload()
			}
		}
	}
}

func (s processSignals) watchReopen(done <-chan struct{}, act signalActions) {
	for {
		select {
		case <-done:
			return
		case <-s.reopen:
			act.reopen()
		}
	}
}
