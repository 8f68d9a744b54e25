#!/bin/sh
# Stands where nginx would: this image was made with no package registry in reach. It takes nginx's words and signals, and
# serves the document root with busybox where there is one.
case "${1-}" in
-v | -V)
    echo "this is a stand-in for nginx, which was out of reach when the image was made" >&2
    exit 0
    ;;
esac
# A process 1 sees only the signals that it asks for.
trap 'exit 0' QUIT TERM INT
echo "notice: a stand-in for nginx; it writes no access log" >&2
if [ -x /usr/bin/busybox ]; then
    /usr/bin/busybox httpd -f -p 80 -h /usr/share/nginx/html &
else
    sleep 2147483647 &
fi
wait
