// Answers that are odd but legal, by Go's net/http. The one argument is the port.
package main

import (
	"fmt"
	"net/http"
	"os"
)

func main() {
	interim := func(status, times int) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			for range times {
				w.Header().Set("Link", "</a.css>; rel=preload")
				w.WriteHeader(status)
			}
			fmt.Fprint(w, "hello")
		}
	}
	plain := func(status int, body string, fields ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			for n := 0; n < len(fields); n += 2 {
				w.Header()[fields[n]] = []string{fields[n+1]}
			}
			w.WriteHeader(status)
			fmt.Fprint(w, body)
		}
	}
	http.HandleFunc("/page", plain(200, "hello"))
	http.HandleFunc("/none", plain(204, ""))
	http.HandleFunc("/reset", plain(205, ""))
	http.HandleFunc("/same", plain(304, "", "Etag", `"a"`, "Content-Length", "5"))
	http.HandleFunc("/odd", plain(999, "hello"))
	http.HandleFunc("/hints", interim(103, 1))
	http.HandleFunc("/working", interim(102, 20))
	http.HandleFunc("/undated", func(w http.ResponseWriter, r *http.Request) {
		w.Header()["Date"] = nil
		fmt.Fprint(w, "hello")
	})
	http.HandleFunc("/chunks", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "one")
		w.(http.Flusher).Flush()
		fmt.Fprint(w, "two")
	})
	http.HandleFunc("/socket", func(w http.ResponseWriter, r *http.Request) {
		conn, rw, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		fmt.Fprintf(rw, "HTTP/1.1 101 Switching Protocols\r\nContent-Length: 0\r\nConnection: Upgrade\r\n")
		fmt.Fprintf(rw, "Upgrade: %s\r\nSec-WebSocket-Accept: %s\r\n\r\nhello", r.Header.Get("Upgrade"), r.Header.Get("X-Accept"))
		rw.Flush()
		piece := make([]byte, 100)
		for {
			count, err := rw.Read(piece)
			if err != nil {
				return
			}
			conn.Write(piece[:count])
		}
	})
	panic(http.ListenAndServe("127.0.0.1:"+os.Args[1], nil))
}
