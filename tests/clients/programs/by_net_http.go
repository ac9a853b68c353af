// go run by_net_http.go URL AUTHORITY: net/http as it comes.

package main

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"
)

var url string
var client *http.Client

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func ask(method string, path string, body io.Reader, fields ...string) (*http.Response, []byte) {
	request, err := http.NewRequest(method, url+path, body)
	must(err)
	if pass := os.Getenv("SHIELD_PASS"); pass != "" {
		request.Header.Set("Shield-Pass", pass)
	}
	for place := 0; place < len(fields); place += 2 {
		request.Header.Set(fields[place], fields[place+1])
	}
	response, err := client.Do(request)
	must(err)
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	must(err)
	return response, data
}

func digest(data []byte) string {
	return fmt.Sprintf("%x", sha256.Sum256(data))
}

// Hides the length, so that the body is sent chunked.
type pieces struct{ io.Reader }

func main() {
	url = os.Args[1]
	pem, err := os.ReadFile(os.Args[2])
	must(err)
	authorities := x509.NewCertPool()
	authorities.AppendCertsFromPEM(pem)
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{RootCAs: authorities}
	transport.ExpectContinueTimeout = time.Minute
	client = &http.Client{Transport: transport}

	upload := make([]byte, 40960*256)
	for place := range upload {
		upload[place] = byte(place)
	}
	found := map[string]string{}
	text := func(name string, method string, path string, body io.Reader, fields ...string) {
		_, data := ask(method, path, body, fields...)
		found[name] = string(data)
	}
	sum := func(name string, path string, fields ...string) {
		_, data := ask("GET", path, nil, fields...)
		found[name] = digest(data)
	}
	status := func(name string, path string, fields ...string) {
		response, _ := ask("GET", path, nil, fields...)
		found[name] = fmt.Sprint(response.StatusCode)
	}
	var items []byte
	for number := 0; number < 30; number++ {
		_, data := ask("GET", fmt.Sprintf("/item/%d", number), nil)
		items = append(items, data...)
	}
	found["items"] = digest(items)
	sum("zipped", "/zipped")
	text("moved", "GET", "/moved", nil)
	text("see_other", "POST", "/see-other", strings.NewReader("name=x"))
	response, _ := ask("HEAD", "/large", nil)
	found["head"] = response.Header.Get("Content-Length")
	text("put", "PUT", "/echo", strings.NewReader("12345"))
	text("delete", "DELETE", "/echo", nil)
	text("options", "OPTIONS", "/echo", nil)
	text("upload", "POST", "/upload", bytes.NewReader(upload), "Expect", "100-continue")
	text("chunked", "POST", "/upload", pieces{bytes.NewReader(upload)})
	sum("range", "/large", "Range", "bytes=1000-1999")
	sum("large", "/large")
	sum("stream", "/stream")
	status("empty", "/empty")
	status("unchanged", "/unchanged", "If-None-Match", "\"v1\"")
	status("missing", "/missing")
	_, data := ask("GET", "/events", nil)
	var told []string
	for _, line := range strings.Split(string(data), "\n") {
		if strings.HasPrefix(line, "data: ") {
			told = append(told, line[6:])
		}
	}
	found["events"] = strings.Join(told, ",")
	must(json.NewEncoder(os.Stdout).Encode(found))
}
