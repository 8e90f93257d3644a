import time

from django.contrib.auth.models import User
from django.http import JsonResponse
from django.urls import path


def index(request):
    return JsonResponse({"users": User.objects.count()})


def slow(request):
    time.sleep(1)
    return JsonResponse({"slow": True})


urlpatterns = [path("", index), path("slow", slow)]
